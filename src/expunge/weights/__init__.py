"""Weights on disk: safetensors in and out, whole or not at all, and pickles refused with the one door for them."""

from expunge.weights.difference import LayerChange, compare_layers
from expunge.weights.file import MAX_HEADER_BYTES, atomic_write, check_is_safetensors, is_pickle, is_safetensors
from expunge.weights.load import check_header, load_into, load_matching, load_weights, read_metadata
from expunge.weights.lock import folder_lock
from expunge.weights.names import describe_removed_prefix, unwrap_state
from expunge.weights.save import cast_like, check_savable, save_weights
from expunge.weights.state import load_state, save_state

__all__ = [
    "MAX_HEADER_BYTES",
    "LayerChange",
    "atomic_write",
    "cast_like",
    "check_header",
    "check_is_safetensors",
    "check_savable",
    "compare_layers",
    "describe_removed_prefix",
    "folder_lock",
    "is_pickle",
    "is_safetensors",
    "load_into",
    "load_matching",
    "load_state",
    "load_weights",
    "read_metadata",
    "save_state",
    "save_weights",
    "unwrap_state",
]
