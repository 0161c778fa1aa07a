"""The data room: examples read by index, forget requests and their checked split, manifests, and streams of pairs."""

from expunge.data.augment import Augment, crop_flip, none
from expunge.data.dataset_examples import DatasetExamples
from expunge.data.device_examples import (
    device_cache,
    device_cache_limit,
    move_split_to_device,
    move_split_to_host,
    to_device,
)
from expunge.data.duplicates import (
    compute_expected_copies,
    drop_duplicates,
    duplicate_fraction,
    find_copies,
    find_duplicates,
)
from expunge.data.examples import Subset, as_examples, get_ids, get_root, get_root_indices, num_classes
from expunge.data.hashing import (
    combine_hashes,
    hash_cache,
    hash_example_ids,
    hash_examples,
    is_repeatable,
    pair_hashes,
)
from expunge.data.labeled_dataset import LabeledDataset, find_dataset_folder
from expunge.data.manifest import build_manifest, fingerprint
from expunge.data.request import ByClass, ByFraction, ByIds, ByIndices, ByPredicate, ForgetRequest
from expunge.data.sampler import PairSampler, SampledIndices
from expunge.data.split import check_labels, split_request
from expunge.data.target_examples import (
    TargetDatasetExamples,
    TargetExamples,
    as_target_examples,
    find_members,
    list_groups,
    read_values,
    regroup,
)
from expunge.data.tensor_examples import Normalize, TensorExamples
from expunge.key import load_or_create_key

__all__ = [
    "Augment",
    "ByClass",
    "ByFraction",
    "ByIds",
    "ByIndices",
    "ByPredicate",
    "DatasetExamples",
    "ForgetRequest",
    "LabeledDataset",
    "Normalize",
    "PairSampler",
    "SampledIndices",
    "Subset",
    "TargetDatasetExamples",
    "TargetExamples",
    "TensorExamples",
    "as_examples",
    "as_target_examples",
    "build_manifest",
    "check_labels",
    "combine_hashes",
    "compute_expected_copies",
    "crop_flip",
    "device_cache",
    "device_cache_limit",
    "drop_duplicates",
    "duplicate_fraction",
    "find_copies",
    "find_dataset_folder",
    "find_duplicates",
    "find_members",
    "fingerprint",
    "get_ids",
    "get_root",
    "get_root_indices",
    "hash_cache",
    "hash_example_ids",
    "hash_examples",
    "is_repeatable",
    "list_groups",
    "load_or_create_key",
    "move_split_to_device",
    "move_split_to_host",
    "none",
    "num_classes",
    "pair_hashes",
    "read_values",
    "regroup",
    "split_request",
    "to_device",
]
