"""Pictures of every depth: scaled by it or refused by name, in every reader and for an autoencoder."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from reader_files import encoded, write_parquet

from expunge.data.pil_images import to_upright_rgb
from expunge.errors import DataError
from expunge.tasks.classification.readers import image_folder
from expunge.tasks.classification.readers._images import center_crop_resize, decode_exact, open_image
from expunge.tasks.classification.readers._parquet import read_images
from expunge.tasks.stable_diffusion.encoders import as_image, as_pixels

pytest.importorskip("PIL")
SIDE = 16
RAMP = np.tile(np.linspace(0, 255, SIDE).round().astype(np.uint8), (SIDE, 1))
DEEP = RAMP.astype(np.uint16) * 257
RED = np.full((SIDE, SIDE, 3), (255, 0, 0), np.uint8)


def of_mode(picture, mode, form="PNG", **options):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def png(values):
    """Return a PNG of 16-bit colors, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.repeat(values[..., None], 3, 2))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def tiff(values, bits, white_is_zero=False, kind=1):
    """Return an uncompressed TIFF of gray values; ``kind`` is 1 for whole numbers, 2 for signed ones, 3 for floats."""
    if bits == 12:
        binary = "".join(f"{value:012b}" for value in values.ravel().tolist())
        data = bytes(int(binary[place : place + 8], 2) for place in range(0, len(binary), 8))
    else:
        data = values.tobytes()
    entries = {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 134, 277: 1, 278: SIDE}
    entries |= {279: len(data), 339: kind}
    tags = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, entries[tag]) for tag in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + b"\0" * 4 + data


GRAY = np.repeat(RAMP[None], 3, 0)
READ = {
    "8-bit gray": (encoded(RAMP), GRAY),
    "16-bit PNG": (encoded(DEEP), GRAY),
    "16-bit TIFF": (encoded(DEEP, "TIFF"), GRAY),
    "16-bit TIFF, white is zero": (tiff(65535 - DEEP, 16, white_is_zero=True), GRAY),
    "12-bit TIFF": (tiff(DEEP >> 4, 12), GRAY),
    "16-bit PGM": (encoded(DEEP, "PPM"), GRAY),
    "16-bit colors": (png(DEEP), GRAY),
    "one bit": (of_mode(RAMP, "1"), None),
    "gray with alpha": (of_mode(RAMP, "LA"), GRAY),
    "colors with alpha": (of_mode(RED, "RGBA"), RED.transpose(2, 0, 1)),
    "palette": (of_mode(RED, "P"), RED.transpose(2, 0, 1)),
    "transparent palette": (of_mode(RED, "P", transparency=bytes(255)), RED.transpose(2, 0, 1)),
    "CMYK": (of_mode(RED, "CMYK", "JPEG", quality=95), RED.transpose(2, 0, 1)),
}
REFUSED = {
    "32-bit gray": encoded(DEEP.astype(np.int32), "TIFF"),
    "signed 16-bit gray": tiff(RAMP.astype("<i2"), 16, kind=2),
    "floating-point gray": encoded((RAMP / 255).astype(np.float32), "TIFF"),
}


@pytest.mark.parametrize(("data", "expected"), READ.values(), ids=READ)
def test_a_picture_keeps_its_values_whatever_its_depth(data, expected):
    one, other = (
        decode_exact(data, SIDE, "a picture"),
        center_crop_resize(open_image(data, "a picture"), SIDE, "a picture"),
    )
    if expected is None:
        assert set(np.unique(one)) == {0, 255}
        assert 0.3 < (one == 255).mean() < 0.7
        return
    assert np.abs(one.astype(int) - expected).max() <= 1
    assert np.array_equal(one, other)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_values_without_a_fixed_range_are_refused_by_name(data, tmp_path):
    for part in ("train", "test"):
        for name in ("ape", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "deep.tif").write_bytes(data)
    with pytest.raises(DataError, match=r"8 or 16 bits.*train.ape.deep\.tif"):
        image_folder(tmp_path, size=8)
    with pytest.raises(DataError, match=r"8 or 16 bits, but found .* in row 0"):
        decode_exact(data, SIDE, "row 0")


def test_deep_pictures_are_turned_upright_too():
    from PIL import Image

    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be turned clockwise by a quarter for display
    read = decode_exact(encoded(DEEP, exif=orientation), SIDE, "a picture")
    assert np.array_equal(read[0], np.rot90(RAMP, -1))


def test_parquet_files_keep_deep_gray(tmp_path):
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "train-0.parquet", [encoded(DEEP)], [0])
    pixels, _ = read_images(tmp_path, "train-*.parquet", SIDE, cache=False)
    assert np.array_equal(pixels[0], GRAY)


def test_hugging_face_data_sets_keep_deep_gray(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    from expunge.tasks.classification.readers import huggingface_datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    part = datasets.Dataset.from_dict({"image": [Image.fromarray(DEEP)] * 2, "label": [0, 1]}, features=features)
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(str(tmp_path / "saved"))
    source = huggingface_datasets(tmp_path, folder="saved", size=SIDE)
    assert np.array_equal(source.train.inputs[1].numpy(), GRAY)


@pytest.mark.parametrize(("data", "expected"), READ.values(), ids=READ)
def test_an_autoencoder_gets_the_same_values(data, expected):
    image = as_image(open_image(data, "a picture"))
    assert image.dtype == torch.float32
    assert torch.equal((image * 255).round().byte(), torch.from_numpy(decode_exact(data, SIDE, "a picture").copy()))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_and_tensors_are_scaled_by_their_depth(kind):
    white = 1 if np.dtype(kind).kind == "f" else np.iinfo(kind).max
    array = np.full((2, 2, 3), white, kind)
    assert as_image(array).tolist() == torch.ones(3, 2, 2).tolist()
    assert as_pixels(torch.from_numpy(array.transpose(2, 0, 1)[None])).tolist() == torch.ones(1, 3, 2, 2).tolist()


@pytest.mark.parametrize(
    "image", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.int64), np.zeros((2, 2, 3), bool), "a.png", None, 3]
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(DataError, match="images"):
        as_pixels([image])


def test_floating_point_pictures_of_pillow_are_refused():
    from PIL import Image

    with pytest.raises(DataError, match="floating-point gray in a picture"):
        to_upright_rgb(Image.fromarray((RAMP / 255).astype(np.float32)), "a picture")
