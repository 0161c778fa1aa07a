"""The request file of a classifier."""

from __future__ import annotations

from typing import Literal

from expunge.request.model_request import ModelRequest


class ClassificationConfig(ModelRequest):
    """One request to a classifier.

    Args:
        task: ``classification``.
    """

    task: Literal["classification"] = "classification"
