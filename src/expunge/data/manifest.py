"""The manifest: what a request was, in keyed hashes, so that the evidence does not keep what was deleted.

Who holds the key can check whether a list of indices, or of examples, is the one that was forgotten; who does not
learns sizes alone.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

import expunge
from expunge.batch import Examples
from expunge.data.examples import get_root_indices
from expunge.data.hashing import combine_hashes, hash_examples
from expunge.data.request import ForgetRequest
from expunge.key import key_id, load_or_create_key


def build_manifest(
    request: ForgetRequest,
    forget_positions: Tensor,
    retain_positions: Tensor,
    dataset_name: str,
    examples: Examples,
    key: bytes,
) -> dict[str, Any]:
    """Return the record of a request that may be kept: sizes, seed and keyed hashes, never indices, names or paths.

    Args:
        request: The request.
        forget_positions: Positions in ``examples`` of what is forgotten.
        retain_positions: Positions in ``examples`` of what is retained.
        dataset_name: Name of the data set, for people.
        examples: The training set that the request was made on.
        key: The secret, from ``load_key``.

    Returns:
        Plain values that JSON can hold. The digests are HMAC-SHA256 over the sorted indices in the root data set, the
        contents over the sorted hashes of what the examples hold.

    Examples:
        >>> import torch
        >>> from expunge.data import ByClass, TensorExamples, split_request
        >>> examples = TensorExamples(torch.rand(4, 2), [0, 1, 0, 1])
        >>> record = build_manifest(ByClass(1), *split_request(examples, ByClass(1)), "example", examples, bytes(32))
        >>> record["kind"], record["sizes"]
        ('class', {'forget': 2, 'retain': 2, 'all': 4})
    """
    indices, hashes = get_root_indices(examples), hash_examples(examples, key)
    record: dict[str, Any] = {
        "kind": request.kind,
        "sizes": {"forget": len(forget_positions), "retain": len(retain_positions), "all": len(examples)},
        "digest": {
            "forget": hash_indices(indices[forget_positions], key),
            "retain": hash_indices(indices[retain_positions], key),
            "by": "HMAC-SHA256",
            "key": key_id(key),
        },
        "contents": {
            "forget": combine_hashes(hashes[forget_positions.numpy()], key),
            "retain": combine_hashes(hashes[retain_positions.numpy()], key),
        },
        "dataset": {"name": dataset_name, "fingerprint": combine_hashes(hashes, key)},
        "expunge": expunge.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    seed = getattr(request, "seed", None)
    return record if seed is None else {**record, "seed": seed}


def hash_indices(indices: Tensor, key: bytes) -> str:
    """Return HMAC-SHA256, in hex, over the sorted indices as little-endian 64-bit integers.

    Examples:
        >>> import torch
        >>> hash_indices(torch.tensor([2, 1]), bytes(32)) == hash_indices(torch.tensor([1, 2]), bytes(32))
        True
    """
    return hmac.new(key, _int64_bytes(indices.sort().values), hashlib.sha256).hexdigest()


def fingerprint(examples: Examples, key: bytes | None = None) -> str:
    """Return the keyed hash, in hex, of what all examples hold, whatever their order.

    Args:
        examples: The data set.
        key: The secret. Default: that of this installation, from ``load_key``.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> rows, labels = torch.tensor([[0.5], [1.5]]), torch.tensor([0, 1])
        >>> one, other = TensorExamples(rows, labels), TensorExamples(rows.flip(0), labels.flip(0))
        >>> fingerprint(one, bytes(32)) == fingerprint(other, bytes(32))
        True
        >>> fingerprint(one, bytes(32)) == fingerprint(TensorExamples(2 * rows, labels), bytes(32))
        False
    """
    secret = load_or_create_key() if key is None else key
    return combine_hashes(hash_examples(examples, secret), secret)


def _int64_bytes(values: Tensor) -> bytes:
    return values.cpu().numpy().astype("<i8").tobytes()
