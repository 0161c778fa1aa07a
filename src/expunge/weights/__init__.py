"""Weights on disk: safetensors in and out, whole or not at all, and pickles refused with the one door for them."""

from expunge.weights.difference import Layer, layers_moved
from expunge.weights.file import HEADER_LIMIT, check_is_safetensors, is_pickled, is_safetensors, replacing
from expunge.weights.load import check_header, load_fitting, load_into, load_weights, read_metadata
from expunge.weights.lock import locked
from expunge.weights.names import plain_state, taken_off
from expunge.weights.save import check_savable, in_form_of, save_weights
from expunge.weights.state import load_state, save_state

__all__ = [
    "HEADER_LIMIT",
    "Layer",
    "check_header",
    "check_is_safetensors",
    "check_savable",
    "in_form_of",
    "is_pickled",
    "is_safetensors",
    "layers_moved",
    "load_fitting",
    "load_into",
    "load_state",
    "load_weights",
    "locked",
    "plain_state",
    "read_metadata",
    "replacing",
    "save_state",
    "save_weights",
    "taken_off",
]
