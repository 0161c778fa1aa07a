"""Which example is which: keyed hashes of what examples hold, or of the user's ids, and sets of such hashes.

An example is known by the values of its inputs as they are stored (of a data set that is read item by item, as it
yields them) and by its label, wherever it stands and whatever data set object it is read through. Of torchvision's data
sets it is what their files or arrays hold, whatever the transform, so that nothing is decoded for it.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.batch import Batch, Examples, map_tensors
from expunge.data.dataset_examples import DatasetExamples
from expunge.data.device_examples import DeviceExamples
from expunge.data.examples import Subset, get_root, get_root_indices
from expunge.data.file_hashes import hash_file_contents
from expunge.data.id_file import column_to_texts
from expunge.data.labels import as_tensor
from expunge.data.tensor_examples import TensorExamples
from expunge.errors import DataError

Hashes = NDArray[np.bytes_]
"""One hash for each example, ``(n,)`` of dtype S16; compare whole arrays, since single items lose trailing zeros."""

HASH_BYTES = 16
BLOCK_SIZE = 1024
"""Examples in memory that are hashed at a time."""
READ_SIZE = 64
"""Examples of other data sets that are read at a time."""
PROBE_SIZE = 4
"""Examples that are read twice, to learn whether a data set yields the same again."""

_hash_caches: ContextVar[dict[tuple[int, bytes], _HashCache] | None] = ContextVar("memo", default=None)


class _HashCache:
    """What is known of one root data set; it holds the data set, so that its id stays its own."""

    def __init__(self, root: Examples) -> None:
        self.root = root
        self.hashes = np.zeros(len(root), f"S{HASH_BYTES}")
        self.filled = np.zeros(len(root), bool)


@contextmanager
def hash_cache() -> Iterator[None]:
    """Hash each example once inside the context, however often it is asked for; data must not be changed meanwhile.

    Examples:
        >>> with hash_cache():
        ...     pass
    """
    if _hash_caches.get() is not None:
        yield
        return
    token = _hash_caches.set({})
    try:
        yield
    finally:
        _hash_caches.reset(token)


def hash_examples(examples: Examples, key: bytes) -> Hashes:
    """Return the keyed hash of each example: BLAKE2b, 16 bytes, over its inputs (type, shape, values) and its label.

    Random transforms are read with fixed seeds; the caller's random numbers stay as they were. A data set that yields
    something else whenever it is read nevertheless, by a generator of its own, has no content to go by (see
    ``is_repeatable``): its examples are known by their position and label.

    Args:
        examples: Any examples. Of a part of a data set, only the part is read.
        key: The secret, from ``load_key``.

    Raises:
        ExpungeError: If the data set cannot be read.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.tensor([[1.0], [2.0], [1.0]]), [0, 0, 0])
        >>> first, second, third = hash_examples(rows, bytes(32))
        >>> first == third, first == second
        (True, False)
    """
    root, positions = _resolve_root(examples)
    caches = _hash_caches.get()
    if caches is None:
        return _hash_positions(root, positions, key)
    if (id(root), key) not in caches:
        caches[id(root), key] = _HashCache(root)
    cache = caches[id(root), key]
    missing = np.unique(positions[~cache.filled[positions]])
    if len(missing):
        cache.hashes[missing] = _hash_positions(root, missing, key)
        cache.filled[missing] = True
    return cache.hashes[positions]


def is_repeatable(examples: Examples) -> bool:
    """Return whether a data set yields the same when it is read twice with the same seeds.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> is_repeatable(TensorExamples(torch.zeros(2, 1), [0, 0]))
        True
    """
    root, positions = _resolve_root(examples)
    if isinstance(root, TensorExamples) or _find_stored_data(root) is not None:
        return True
    blank, probe = hashlib.blake2b(digest_size=HASH_BYTES), torch.from_numpy(positions[:PROBE_SIZE])
    with _preserved_rng_state():
        return list(_iter_digests(blank, root, probe)) == list(_iter_digests(blank, root, probe))


def storage_format(examples: Examples) -> str:
    """Return in which form the content of examples is hashed: as a data set yields it, or as it is stored before that.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> storage_format(TensorExamples(torch.zeros(2, 1), [0, 0]))
        'yielded'
    """
    root, _ = _resolve_root(examples)
    if isinstance(root, TensorExamples):
        return "yielded" if root.scale is None else f"scaled by {root.scale}"
    stored = _find_stored_data(root)
    return "yielded" if stored is None else "files" if isinstance(stored, list) else "array"


def hash_yielded_examples(examples: Examples, key: bytes) -> Hashes:
    """Return the keyed hash of each example as its data set yields it, in whatever form it is stored.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.zeros(2, 1), [0, 0])
        >>> bool((hash_yielded_examples(rows, bytes(32)) == hash_examples(rows, bytes(32))).all())
        True
    """
    root, positions = _resolve_root(examples)
    blank = hashlib.blake2b(digest_size=HASH_BYTES, key=key, person=b"expunge example")
    with _preserved_rng_state():
        return _join_digests(_iter_digests(blank, root, torch.from_numpy(positions)))


def hash_example_ids(examples: Examples, key: bytes) -> Hashes | None:
    """Return the keyed hash of each example's id, None where the data set has no attribute ``ids``.

    An id is taken by its text, so that 25 and "25" are one. A hash of an id never equals one of an example's content.

    Args:
        examples: Any examples; a part of a data set has those of the whole.
        key: The secret, from ``load_key``.

    Raises:
        DataError: If there is not one id for each example.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.zeros(2, 1), [0, 0])
        >>> rows.ids = ["ann", "bob"]
        >>> len(hash_example_ids(Subset(rows, [1]), bytes(32)))
        1
    """
    root, positions = _resolve_root(examples)
    ids = getattr(root, "ids", None)
    if ids is None:
        return None
    texts = column_to_texts(ids, len(root))
    return hash_ids([texts[position] for position in positions.tolist()], key)


def hash_ids(ids: Sequence[Any], key: bytes) -> Hashes:
    """Return the keyed hash of each id, by its text.

    Examples:
        >>> bool((hash_ids([25], bytes(32)) == hash_ids(["25"], bytes(32))).all())
        True
    """
    blank = hashlib.blake2b(digest_size=HASH_BYTES, key=key, person=b"expunge id")
    return _join_digests(_digest(blank, str(one).encode("utf-8", "surrogatepass")) for one in ids)


def pair_hashes(first: Hashes, second: Hashes) -> Hashes:
    """Return each hash of the first with its neighbor of the second, as one of twice the length.

    Examples:
        >>> pair_hashes(hash_ids("ab", bytes(32)), hash_ids("cd", bytes(32))).dtype
        dtype('S32')
    """
    both = np.stack([first, second], axis=1)
    return np.frombuffer(both.tobytes(), f"S{2 * both.dtype.itemsize}")


def combine_hashes(hashes: Hashes, key: bytes) -> str:
    """Return HMAC-SHA256, in hex, over a set of hashes: whatever their order, and as often as each is in it.

    Examples:
        >>> ann, bob = hash_ids(["ann", "bob"], bytes(32)), hash_ids(["bob", "ann"], bytes(32))
        >>> combine_hashes(ann, bytes(32)) == combine_hashes(bob, bytes(32))
        True
    """
    return hmac.new(key, b"expunge set\0" + np.sort(hashes).tobytes(), hashlib.sha256).hexdigest()


def _resolve_root(examples: Examples) -> tuple[Examples, NDArray[np.int64]]:
    """Return the root data set, as it was before it went to a device, and the positions in it."""
    root = get_root(examples)
    return root.source if isinstance(root, DeviceExamples) else root, get_root_indices(examples).numpy()


def _hash_positions(root: Examples, positions: NDArray[np.int64], key: bytes) -> Hashes:
    if not len(positions):
        return _join_digests(iter(()))
    blank = hashlib.blake2b(digest_size=HASH_BYTES, key=key, person=b"expunge example")
    chosen = torch.from_numpy(positions)
    if isinstance(root, TensorExamples):
        blocks = (_read_raw_batch(root, part) for part in chosen.split(BLOCK_SIZE))
        return _join_digests(one for block in blocks for one in _digest_batch(blank, block))
    if (stored := _find_stored_data(root)) is not None:
        return _hash_stored_data(stored, root.targets[chosen], positions, key)
    if not is_repeatable(Subset(root, chosen)):
        return _hash_by_position(root, positions, key)
    with _preserved_rng_state():
        return _join_digests(_iter_digests(blank, root, chosen))


def _find_stored_data(root: Examples) -> Any:
    """Return the paths or the array that a data set of torchvision reads its items from; None of any other."""
    dataset = getattr(root, "dataset", None)
    if not isinstance(root, DatasetExamples) or dataset is None:
        return None
    reads = next((kind for kind in type(dataset).__mro__ if "__getitem__" in vars(kind)), object)
    if not reads.__module__.startswith("torchvision.datasets."):
        return None
    samples, data = getattr(dataset, "samples", None), getattr(dataset, "data", None)
    if isinstance(samples, list) and len(samples) == len(root):
        return [Path(path) for path, _ in samples]
    return data if isinstance(data, Tensor | np.ndarray) and len(data) == len(root) else None


def _hash_stored_data(stored: Any, labels: Tensor, positions: NDArray[np.int64], key: bytes) -> Hashes:
    """Return the hashes of examples by what their files or rows of an array hold."""
    if not isinstance(stored, list):
        return _hash_positions(TensorExamples(as_tensor(stored[positions]), labels), np.arange(len(labels)), key)
    try:
        contents = hash_file_contents([stored[position] for position in positions.tolist()], key)
    except OSError as error:
        reason = f"'{error.filename}' ({error.strerror})"
        raise DataError("a file that can be read", reason, "check the data set's files") from error
    content_rows = torch.from_numpy(contents.view(np.uint8).reshape(-1, HASH_BYTES))
    return _hash_positions(TensorExamples({"file": content_rows}, labels), np.arange(len(labels)), key)


def _hash_by_position(root: Examples, positions: NDArray[np.int64], key: bytes) -> Hashes:
    blank = hashlib.blake2b(digest_size=HASH_BYTES, key=key, person=b"expunge position")
    labels = root.targets[torch.from_numpy(positions)].tolist()
    pairs = zip(positions.tolist(), labels, strict=True)
    return _join_digests(_digest(blank, f"{len(root)} {position} {label}".encode()) for position, label in pairs)


def _iter_digests(blank: Any, root: Examples, positions: Tensor) -> Iterator[bytes]:
    """Yield the digests of examples that are read; one by one once reading them was seen to draw random numbers."""
    uses_randomness = False
    for part in positions.split(READ_SIZE):
        if not uses_randomness:
            _seed_generators()
            before = _rng_states()
            batch = root.batch(part)
            uses_randomness = before != _rng_states()
        if not uses_randomness:
            yield from _digest_batch(blank, batch)
            continue
        for position in part.split(1):
            _seed_generators()
            yield from _digest_batch(blank, root.batch(position))


def _read_raw_batch(examples: TensorExamples, positions: Tensor) -> Batch:
    """Return examples as they are in memory, neither scaled nor normalized."""
    inputs = map_tensors(examples.inputs, lambda tensor: tensor[positions.to(tensor.device)])
    return Batch(inputs, examples.batch_targets[positions], positions)


def _digest_batch(blank: Any, batch: Batch) -> Iterator[bytes]:
    """Yield the digest of each example of a batch."""
    count = len(batch)
    targets = batch.targets if batch.targets.is_floating_point() else batch.targets.to(torch.int64)
    header, columns = bytearray(), [_row_bytes(targets, count)]
    for name, value in _iter_leaves("", batch.inputs):
        if isinstance(value, Tensor):
            header += f"{name} {value.dtype} {tuple(value.shape[1:])}\0".encode()
            columns.append(_row_bytes(value, count))
        else:
            header += f"{name} text\0".encode()
            columns.append(_row_bytes(torch.from_numpy(_digest_texts(value)), count))
    start = blank.copy()
    start.update(header)
    rows = np.concatenate(columns, axis=1)
    length, content = rows.shape[1], memoryview(rows.tobytes())
    for number in range(count):
        yield _digest(start, content[number * length : (number + 1) * length])


def _iter_leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the tensors and lists of texts in a batch of inputs by name, mappings in the order of their names."""
    if isinstance(value, Mapping):
        for part in sorted(value, key=str):
            yield from _iter_leaves(f"{name}/{part}", value[part])
    elif isinstance(value, (list, tuple)) and not all(isinstance(one, str | bytes) for one in value):
        for number, one in enumerate(value):
            yield from _iter_leaves(f"{name}/{number}", one)
    else:
        yield name, value


def _digest_texts(texts: Any) -> NDArray[np.uint8]:
    """Return the digests of what is no tensor, ``(n, 32)``; what is no text by its printed form."""
    raw = (one if isinstance(one, bytes) else str(one).encode("utf-8", "surrogatepass") for one in texts)
    joined = b"".join(hashlib.sha256(one).digest() for one in raw)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32).copy()


def _row_bytes(values: Tensor, count: int) -> NDArray[np.uint8]:
    dense = values.detach().to_dense() if values.is_sparse else values.detach()
    flat = dense.cpu().resolve_conj().resolve_neg().contiguous().reshape(count, -1)
    viewed: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    return viewed


def _digest(start: Any, content: Any) -> bytes:
    """Return the digest of bytes after what a hash has taken in already."""
    hasher = start.copy()
    hasher.update(content)
    digest: bytes = hasher.digest()
    return digest


def _join_digests(digests: Iterator[bytes]) -> Hashes:
    return np.frombuffer(b"".join(digests), f"S{HASH_BYTES}").copy()


@contextmanager
def _preserved_rng_state() -> Iterator[None]:
    """Put the random numbers of Python, NumPy and torch back as they were."""
    python, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)


def _rng_states() -> tuple[Any, ...]:
    """Return where the generators of torch, Python and NumPy are."""
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]


def _seed_generators() -> None:
    """Let what is drawn next be the same every time."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
