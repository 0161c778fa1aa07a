"""The data room: examples read by index, forget requests and their checked split, manifests, and streams of pairs."""

from expunge.data.augment import Augment, crop_flip, none
from expunge.data.copies import copies, distinct, repeated_share, repeats, share_by_chance
from expunge.data.dataset_examples import DatasetExamples
from expunge.data.examples import Subset, as_examples, ids_of, num_classes, root_indices, root_of
from expunge.data.identity import (
    example_hashes,
    id_hashes,
    is_repeatable,
    pair_hashes,
    remembered_hashes,
    set_hash,
)
from expunge.data.manifest import fingerprint, manifest
from expunge.data.request import ByClass, ByFraction, ByIds, ByIndices, ByPredicate, Request
from expunge.data.residency import kept_on, resident, resident_split, resident_up_to, split_at_home
from expunge.data.source import Source, find_root
from expunge.data.split import check_labels, split_request
from expunge.data.stream import Draw, PairStream
from expunge.data.tensor_examples import Affine, TensorExamples
from expunge.key import load_key

__all__ = [
    "Affine",
    "Augment",
    "ByClass",
    "ByFraction",
    "ByIds",
    "ByIndices",
    "ByPredicate",
    "DatasetExamples",
    "Draw",
    "PairStream",
    "Request",
    "Source",
    "Subset",
    "TensorExamples",
    "as_examples",
    "check_labels",
    "copies",
    "crop_flip",
    "distinct",
    "example_hashes",
    "find_root",
    "fingerprint",
    "id_hashes",
    "ids_of",
    "is_repeatable",
    "kept_on",
    "load_key",
    "manifest",
    "none",
    "num_classes",
    "pair_hashes",
    "remembered_hashes",
    "repeated_share",
    "repeats",
    "resident",
    "resident_split",
    "resident_up_to",
    "root_indices",
    "root_of",
    "set_hash",
    "share_by_chance",
    "split_at_home",
    "split_request",
]
