"""Small files of the forms that the readers read, and where the real ones are."""

import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

REPOSITORY = Path(__file__).resolve().parents[2]
# Read once: the tests take the variable away, so that what they check does not depend on it.
DATA = Path(os.environ.get("EXPUNGE_DATA") or REPOSITORY.parent / "shared" / "data")


def real_data(folder):
    """Return the folder of data sets, or skip the test if it lacks ``folder``."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"needs the data set '{folder}' in EXPUNGE_DATA")
    return DATA


def pictures(count, size, seed=0):
    """Return color pictures (count, size, size, 3) with every byte value likely."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def encoded(picture, form="PNG", **options):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **options)
    return stream.getvalue()


def write_parquet(path, images, labels, **options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"bytes": data, "path": f"{place}.png"} for place, data in enumerate(images)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": rows, "label": pa.array(labels, pa.int64())}), path, row_group_size=3, **options)


def idx_bytes(magic, sizes, values):
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes) + np.asarray(values, np.uint8).tobytes()


def write_idx(folder, part, images, labels, compressed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        (f"{part}-images-idx3-ubyte", idx_bytes(0x803, images.shape, images)),
        (f"{part}-labels-idx1-ubyte", idx_bytes(0x801, (len(labels),), labels)),
    ):
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def cifar_records(images, *label_rows):
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([np.array(label_rows, np.uint8).T, planes], 1).tobytes()


def write_svhn(tmp_path, **changes):
    images = pictures(4, 32)
    content = {"X": images.transpose(1, 2, 3, 0), "y": np.array([[10], [1], [9], [10]], np.uint8)} | changes
    (tmp_path / "svhn").mkdir(exist_ok=True)
    for part in ("train", "test"):
        savemat(tmp_path / "svhn" / f"{part}_32x32.mat", content, do_compression=True)
    return images


def write_folder(tmp_path, test="test"):
    for part, count in (("train", 2), (test, 1)):
        for label, name in enumerate(("ape", "bee")):
            (tmp_path / part / name).mkdir(parents=True)
            for place in range(count):
                picture = np.full((10, 20, 3), 50 * label + place, np.uint8)
                (tmp_path / part / name / f"{place}.png").write_bytes(encoded(picture))
    return tmp_path
