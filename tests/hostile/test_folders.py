"""Folders of models and pictures that somebody else made: no way out of them, no code in them, no endless numbers."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import tiny_pipeline
from hypothesis import strategies as st
from reader_files import encoded, pictures, write_folder, write_idx, write_parquet, write_svhn

import hostile
from expunge.errors import CheckpointError, DataError, ModelError
from expunge.tasks.classification.readers import image_folder, mnist, svhn
from expunge.tasks.classification.readers._images import center_crop_resize, open_image
from expunge.tasks.classification.readers._parquet import read_images
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.pretrained import MAX_LAYERS, check_pretrained
from expunge.tasks.stable_diffusion.text_to_image import TextToImage
from hostile import broken, mutated, numbers_of, tried

PICTURE = pictures(1, 12)[0]
FORMS = {"PNG": {}, "JPEG": {}, "WEBP": {"lossless": True}, "BMP": {}, "GIF": {}, "TIFF": {}, "PPM": {}}


@numbers_of("pictures")
def test_pictures(cases):
    files = [encoded(PICTURE, form, **options) for form, options in FORMS.items()]
    files += [encoded(PICTURE, "TIFF", compression="tiff_deflate"), encoded(PICTURE, "PNG", exif=bytes(20))]
    files += [encoded(PICTURE[..., 0].astype(np.uint16) * 257, form) for form in ("PNG", "TIFF", "PPM")]

    def body(content):
        with hostile.Watch():
            found = center_crop_resize(open_image(content, "a picture"), 8, "a picture")
        assert found.shape == (3, 8, 8)

    tried(cases, body, content=st.sampled_from(files).flatmap(broken) | st.binary(max_size=30))


@numbers_of("data files")
def test_data_files(cases, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for part in ("train", "t10k"):
        write_idx(tmp_path / "MNIST", part, np.zeros((2, 28, 28), np.uint8), [0, 1], compressed=part == "train")
    write_svhn(tmp_path)
    write_parquet(tmp_path / "shards" / "train-0.parquet", [encoded(one) for one in pictures(4, 32)], [0, 1, 2, 3])
    readers = {
        "MNIST/train-images-idx3-ubyte.gz": lambda: mnist(tmp_path),
        "MNIST/t10k-labels-idx1-ubyte": lambda: mnist(tmp_path),
        "svhn/train_32x32.mat": lambda: svhn(tmp_path),
        "shards/train-0.parquet": lambda: read_images(tmp_path / "shards", "train-*.parquet", 32, cache=False),
    }
    good = {name: (tmp_path / name).read_bytes() for name in readers}

    def body(file):
        name, content = file
        (tmp_path / name).write_bytes(content)
        try:
            with hostile.Watch():
                readers[name]()
        finally:
            (tmp_path / name).write_bytes(good[name])

    files = st.sampled_from(list(good)).flatmap(lambda name: st.tuples(st.just(name), broken(good[name])))
    tried(cases, body, file=files)


def test_links_that_lead_to_themselves_are_refused(tmp_path):
    write_folder(tmp_path / "pictures")
    picture = tmp_path / "pictures" / "train" / "ape" / "loop.png"
    picture.symlink_to(picture)
    with pytest.raises(DataError, match=r"that can be read, but found .*loop\.png"):
        image_folder(tmp_path / "pictures", size=4)
    weights = tmp_path / "model" / "loop.safetensors"
    weights.parent.mkdir()
    weights.symlink_to(weights)
    with pytest.raises(CheckpointError, match=r"plain files.*loop\.safetensors"):
        check_pretrained(weights.parent)


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    write_folder(tmp_path)

    def iterdir(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", iterdir)
    with pytest.raises(DataError, match=r"a folder that can be read, but found .*train.*Permission denied"):
        image_folder(tmp_path, size=4)


@pytest.mark.parametrize("folder", ["x" * 300, "/".join(["y" * 200] * 30), "a\0b"])
def test_names_that_no_folder_can_have_are_not_found(tmp_path, folder):
    with pytest.raises(DataError, match="the folder"):
        image_folder(tmp_path, folder=folder)


def test_pictures_that_lead_out_of_their_folder_are_refused(tmp_path):
    outside = tmp_path / "secret.png"
    outside.write_bytes(encoded(PICTURE))
    place = write_folder(tmp_path / "data")
    link = place / "train" / "ape" / "link.png"
    link.symlink_to(place / "train" / "ape" / "0.png")
    assert len(image_folder(place).train) == 5
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(DataError, match="leads out of it"):
        image_folder(place)
    link.unlink()
    shutil.copytree(place / "train" / "ape", tmp_path / "elsewhere")
    (place / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out of it"):
        image_folder(place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_picture(tmp_path):
    place = write_folder(tmp_path)
    os.mkfifo(place / "train" / "ape" / "pipe.png")
    with hostile.alarm(), pytest.raises(DataError, match="no file"):
        image_folder(place)


def test_a_shard_that_unfolds_is_read_in_parts(tmp_path):
    """Rows that share one large value are small on disk, also by their own account."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    large = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array([b"x" * 2**18]))
    rows = pa.StructArray.from_arrays([large, pa.array([""] * 400)], ["bytes", "path"])
    table = pa.table({"image": rows, "label": pa.array([0] * 400, pa.int64())})
    pq.write_table(table, tmp_path / "train-0.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "train-0.parquet").stat().st_size < 2**20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(DataError, match="row 0"):
        read_images(tmp_path, "train-*.parquet", 32, cache=False)
    assert pa.default_memory_pool().max_memory() - before < 2**26, "400 pictures of 256 KiB are 100 MiB"


@pytest.fixture(scope="module")
def ddpm(tmp_path_factory):
    """A folder of the smallest diffusion model."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'diffusion')")
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        num_class_embeds=3,
    )
    model = DDPM(unet, diffusers.DDPMScheduler(num_train_timesteps=10), classes=2)
    return model.save_pretrained(tmp_path_factory.mktemp("ddpm") / "model")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A folder of the smallest pipeline."""
    tiny_pipeline.libraries()
    return tiny_pipeline.tiny_model().save_pretrained(tmp_path_factory.mktemp("pipeline") / "model")


@numbers_of("model folders")
def test_model_folders(cases, tmp_path, ddpm):
    configs = {name: json.loads((ddpm / name).read_text()) for name in ("unet/config.json", "classes.json")}
    configs["scheduler/scheduler_config.json"] = json.loads((ddpm / "scheduler/scheduler_config.json").read_text())
    place = tmp_path / "model"
    weights = (ddpm / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    texts = st.sampled_from(list(configs)).flatmap(
        lambda name: st.tuples(st.just(name), mutated(configs[name]).map(hostile.as_json))
    )
    files = texts | st.tuples(st.just("unet/diffusion_pytorch_model.safetensors"), broken(weights))

    def body(file):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(ddpm, place)
        (place / file[0]).write_bytes(file[1])
        with hostile.Watch(place):
            DDPM.from_pretrained(place)

    tried(cases, body, file=files)


CODE = "import os\nos.system('touch {}')\nclass Part:\n    from_pretrained = classmethod(lambda *a, **k: None)\n"


def poisoned(folder, part, entry):
    """Change what a pipeline says of one of its parts."""
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, part: entry}))


@pytest.mark.parametrize(
    ("part", "entry"),
    [
        ("unet", ["evil", "Part"]),
        ("unet", ["os", "system"]),
        ("tokenizer", ["transformers", "RagRetriever"]),
        ("text_encoder", ["transformers", "AutoModel"]),
        ("scheduler", ["diffusers", "DiffusionPipeline"]),
        ("scheduler", ["evil", "Scheduler"]),
        ("more", ["evil", "Part"]),
        ("vae", ["diffusers"]),
        ("_class_name", ["evil", "StableDiffusionPipeline"]),
    ],
)
def test_a_pipeline_cannot_bring_code(tmp_path, pipeline, part, entry):
    place = shutil.copytree(pipeline, tmp_path / "model")
    for name in ("unet", "scheduler", "more"):
        (place / name).mkdir(exist_ok=True)
        (place / name / "evil.py").write_text(CODE.format(tmp_path / "ran"))
    poisoned(place, part, entry)
    with pytest.raises((CheckpointError, ModelError)):
        TextToImage.from_pretrained(place)
    assert not (tmp_path / "ran").exists()
    assert "evil" not in sys.modules


def test_a_file_in_the_place_of_a_library_is_refused(tmp_path, pipeline):
    place = shutil.copytree(pipeline, tmp_path / "model")
    (place / "unet" / "diffusers.py").write_text(CODE.format(tmp_path / "ran"))
    with pytest.raises(CheckpointError, match="without code"):
        TextToImage.from_pretrained(place)
    assert not (tmp_path / "ran").exists()


def test_the_ways_out_of_a_model_folder_are_closed(tmp_path, ddpm):
    def refused(change, sentence):
        place = shutil.copytree(ddpm, tmp_path / "model")
        change(place)
        with hostile.alarm(), hostile.Watch(), pytest.raises(CheckpointError, match=sentence):
            DDPM.from_pretrained(place)
        shutil.rmtree(place)

    weights = "unet/diffusion_pytorch_model.safetensors"
    outside = shutil.copy(ddpm / weights, tmp_path / "outside.safetensors")

    def link(place):
        (place / weights).unlink()
        (place / weights).symlink_to(outside)

    def folder_link(place):
        shutil.copytree(place / "unet", tmp_path / "unet", dirs_exist_ok=True)
        shutil.rmtree(place / "unet")
        (place / "unet").symlink_to(tmp_path / "unet")

    def shards(place):
        (place / weights).unlink()
        index = {"metadata": {}, "weight_map": {"conv_in.bias": "../../outside.safetensors"}}
        (place / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))

    def layers(place):
        config = json.loads((place / "unet/config.json").read_text())
        (place / "unet/config.json").write_text(json.dumps({**config, "layers_per_block": 10**9}))

    def steps(place):
        (place / "scheduler/scheduler_config.json").write_text('{"num_train_timesteps": 1000000000000}')

    def pickle(place):
        (place / weights).rename(place / "unet" / "diffusion_pytorch_model.bin")

    refused(link, "leads out of it")
    refused(folder_link, "leads out of it")
    refused(shards, "names of files beside it")
    refused(layers, f"at most {MAX_LAYERS}")
    refused(steps, "num_train_timesteps")
    refused(pickle, "safetensors")
    if hasattr(os, "mkfifo"):
        refused(lambda place: os.mkfifo(place / "unet" / "pipe"), "plain files")


def test_a_snapshot_of_a_cache_may_lead_to_its_store(tmp_path, ddpm):
    store = tmp_path / "models--a--b"
    snapshot = shutil.copytree(ddpm, store / "snapshots" / "0123")
    (store / "blobs").mkdir()
    weights = snapshot / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(store / "blobs" / "abc")
    weights.symlink_to(store / "blobs" / "abc")
    check_pretrained(snapshot)
    assert DDPM.from_pretrained(snapshot).classes == 2


def test_a_picture_that_is_small_outside_and_enormous_inside_is_refused():
    head = b"GIF89a" + (12).to_bytes(2, "little") * 2 + b"\x00\x00\x00"
    frame = b"\x2c" + bytes(4) + (14_000).to_bytes(2, "little") * 2 + b"\x00"
    with pytest.raises(DataError, match=r"decoded|at most"):
        center_crop_resize(open_image(head + frame + b"\x02\x00\x3b", "a bomb"), 8, "a bomb")
