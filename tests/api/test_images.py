"""Same-seed pictures of checkpoints: who is asked for what, what the file shows, what is refused beforehand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from small_diffusion import diffusers
from tiny_pipeline import LIMIT, tiny_model, tiny_pipeline
from torch import nn
from typer.testing import CliRunner

from expunge import registry
from expunge.api.generative import images as room
from expunge.api.generative.captions import LINE_HEIGHT, TEXT_PADDING, add_captions, wrap_text
from expunge.api.generative.grids import PADDING, make_sample_grid
from expunge.api.generative.images import draw_images, parse_seeds
from expunge.cli import app
from expunge.errors import CheckpointError, ConfigError, DataError, ExpungeError, ModelError, RequestError
from expunge.tasks.builtin_tasks import Classification, Diffusion, StableDiffusion
from expunge.tasks.image_sampler import ImageSampler
from expunge.tasks.task import Task


class Flat(nn.Module):
    """A model whose images have one gray: its own share and that of request and seed."""

    def __init__(self, text):
        super().__init__()
        told = json.loads(text)
        self.share = nn.Parameter(torch.tensor(told["share"]), requires_grad=False)
        self.form, self.classes = tuple(told.get("form", (1, 8, 8))), told.get("classes", 5)


class FlatSampler(ImageSampler):
    default_batch_size = 3
    heard: ClassVar[list] = []

    def __init__(self, model, guidance=None, steps=None):
        super().__init__(model, 2.0 if guidance is None else guidance, 25 if steps is None else steps)

    @property
    def image_shape(self):
        return self.model.form

    @property
    def classes(self):
        return self.model.classes

    def parse_condition(self, text, class_names=()):
        if self.classes is None:
            return text
        if text in class_names:
            return class_names.index(text)
        if not text.isdigit():
            raise RequestError("a class", text, "ask for one")
        return int(text)

    def __call__(self, conditions, seeds):
        self.heard.append((float(self.model.share), list(conditions), list(seeds), self.guidance, self.steps))
        values = [
            one / 10 + seed / 100 if isinstance(one, int) else 0.5 for one, seed in zip(conditions, seeds, strict=True)
        ]
        found = torch.tensor(values) * float(self.model.share)
        return found.view(-1, 1, 1, 1).expand(-1, *self.image_shape)


class FlatFamily(Task):
    """Models in a file."""

    file = "flat.json"

    make_predictor = count_classes = save = None

    def detects(self, folder):
        return (folder / self.file).is_file()

    def load(self, folder):
        return Flat((folder / self.file).read_text())

    def make_sampler(self, model, guidance=None, steps=None):
        return FlatSampler(model, guidance, steps)


class OtherFamily(FlatFamily):
    """Others."""

    file = "other.json"


@pytest.fixture(autouse=True)
def families(monkeypatch):
    every = {
        one.__name__: registry.make_entry(one)
        for one in (Classification, Diffusion, StableDiffusion, FlatFamily, OtherFamily)
    }
    monkeypatch.setattr(room, "list_entries", lambda kind: every)
    monkeypatch.setattr(FlatSampler, "heard", [])


def checkpoint(folder: Path, share: float, file="flat.json", **more) -> Path:
    folder.mkdir(parents=True)
    (folder / file).write_text(json.dumps({"share": share, **more}))
    return folder


def result(names):
    row = {"key": "original", "label": "Original", "role": "original"}
    request = {"id": "a", "description": "Forget", "kind": "class", "sizes": {"forget": 1}, "seeds": [0]}
    request |= {"retrained": False, "metrics": [{"key": "x", "label": "X"}], "rows": [row], "classes": names}
    return json.dumps({"schema": 2, "title": "T", "requests": [request]})


@pytest.fixture
def before(tmp_path):
    return checkpoint(tmp_path / "base", 1.0)


@pytest.fixture
def after(tmp_path):
    run = tmp_path / "runs" / "forget-coat"
    checkpoint(run / "unlearned", 0.5)
    (run / "result.json").write_text(result(["shirt", "coat", "bag", "boot", "hat"]))
    return run


def quiet(*arguments, **options):
    return draw_images(*arguments, **options, console=Console(file=io.StringIO(), width=100))


def test_every_checkpoint_draws_the_same_requests_and_seeds(before, after, tmp_path):
    grid = quiet([before, after], ["4", "coat"], [0, 7], tmp_path / "grid.png", guidance=3.0, steps=9)
    pairs = [([4, 4, 1], [0, 7, 0]), ([1], [7])]
    assert FlatSampler.heard == [(share, *pair, 3.0, 9) for share in (1.0, 0.5) for pair in pairs]
    assert list(grid.rows) == ["base", "forget-coat"]
    assert grid.columns == ("hat, seed 0", "hat, seed 7", "coat, seed 0", "coat, seed 7")
    assert grid.rows["forget-coat"][:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.235, 0.05, 0.085])
    assert grid.title == "Images of the same seeds, guidance 3, 9 steps"


def test_the_file_has_the_pictures_and_words_around_them(before, after, tmp_path):
    quiet([before, after], ["4"], [0, 9], tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        said, pixels = picture.text["Description"], np.asarray(picture.convert("L"))
    assert "Rows: base; forget-coat. Columns: hat, seed 0; hat, seed 9." in said
    gap, factor = 96 + 12 * PADDING, 12
    top, left = pixels.shape[0] - TEXT_PADDING - gap - 96, pixels.shape[1] - TEXT_PADDING - gap - 96
    for (down, across), value in {(0, 0): 0.4, (0, 1): 0.49, (1, 0): 0.2, (1, 1): 0.245}.items():
        corner = top + down * gap, left + across * gap
        block = pixels[corner[0] : corner[0] + 8 * factor, corner[1] : corner[1] + 8 * factor]
        assert np.unique(block).tolist() == [round(255 * value)]
    assert (pixels[:top] < 100).any(), "nothing is written above"
    assert (pixels[:, :left] < 100).any(), "nothing is written on the left"


def inked(columns, row):
    """Where a blank grid with these words is not white."""
    grid = make_sample_grid({row: torch.ones(len(columns), 1, 96, 96)}, columns, span=(0, 1), title="T")
    return np.asarray(Image.open(io.BytesIO(grid.png_with_labels())).convert("L")) < 128


def test_a_word_stands_above_its_own_column_and_beside_its_own_row():
    plain, other = inked(["a", "a", "a"], "m"), inked(["a", "W", "a"], "m")
    _, across = np.nonzero(plain != other)
    left = plain.shape[1] - 6 - (3 * 96 + 2 * PADDING)
    assert left + 96 + PADDING <= across.min() <= across.max() < left + 2 * (96 + PADDING)
    assert across.max() - across.min() < 20
    down, across = np.nonzero(inked(["a"], "bd") != inked(["a"], "db"))
    assert across.max() < 30
    assert plain.shape[0] - 6 - 96 < down.min() <= down.max() < plain.shape[0] - 6


def test_pictures_are_not_touched_by_the_words():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 2 * 96 + 2, 3), dtype=np.uint8)
    whole = add_captions(
        Image.fromarray(pixels), "A title", ["a row with a label that is much longer than there is room"], ["a", "b"], 2
    )
    assert np.array_equal(np.asarray(whole)[-96 - 6 : -6, -(2 * 96 + 2) - 6 : -6], pixels)


def test_long_labels_fit_and_end_with_an_ellipsis():
    lines = wrap_text("a photograph of a very small cat in the style of somebody", 70, 2)
    assert [len(line) <= 10 for line in lines] == [True, True]
    assert lines[-1].endswith("…")
    assert wrap_text("word", 7, 9) == list("word")


def test_batches_are_of_the_size_that_is_asked_for(before, tmp_path):
    quiet([before], ["0", "1"], [0, 1, 2], tmp_path / "a.png", batch_size=4)
    assert [len(asked) for _, asked, *_ in FlatSampler.heard] == [4, 2]


def test_the_bar_says_images_per_second(before, tmp_path):
    screen = io.StringIO()
    console = Console(file=screen, width=100, force_terminal=True)
    draw_images([before], ["0"], [0, 1], tmp_path / "a.png", console=console)
    assert "images/s" in screen.getvalue()
    assert "2/2" in screen.getvalue()


def test_prompts_are_asked_for_as_they_are(tmp_path):
    one = checkpoint(tmp_path / "one", 1.0, classes=None)
    two = checkpoint(tmp_path / "two" / "one", 0.5, classes=None)
    grid = quiet([one, two], ["a cat, 8 bit", "3"], [1], tmp_path / "a.png")
    assert grid.columns == ("a cat, 8 bit, seed 1", "3, seed 1")
    assert list(grid.rows) == [str(one), str(two)]


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), (" 0 , 5,9-10", [0, 5, 9, 10]), ("1,0-2", [1, 0, 2])]
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1,,2", "0-1000", "0-999,5", "1e3", "0-99999999999999", "٣"])
def test_other_seeds_are_refused(text):
    with pytest.raises(ConfigError, match="at most 1000 seeds, as numbers and rising ranges"):
        parse_seeds(text)


def folder(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


REFUSED = {
    "no such folder": (lambda t, b: ([b, t / "gone"], ["0"], {}), CheckpointError, "gone', but found no such folder"),
    "no model": (lambda t, b: ([b, folder(t)], ["0"], {}), CheckpointError, "draws images in .*empty', but found none"),
    "twice": (lambda t, b: ([b, b], ["0"], {}), ConfigError, "checkpoints, each once, but found one of them twice"),
    "nobody": (lambda t, b: ([], ["0"], {}), ConfigError, "checkpoints, each once, but found none"),
    "families": (
        lambda t, b: ([b, checkpoint(t / "c", 1.0, "other.json")], ["0"], {}),
        ModelError,
        "one family of models, but found flat_family in '.*' and other_family in '",
    ),
    "forms": (
        lambda t, b: ([b, checkpoint(t / "c", 1.0, form=[1, 8, 9])], ["0"], {}),
        ModelError,
        "one form, but found 1×8×8 of 5 classes and 1×8×9 of 5 classes",
    ),
    "classes": (
        lambda t, b: ([b, checkpoint(t / "c", 1.0, classes=6)], ["0"], {}),
        ModelError,
        "of 5 classes and 1×8×8 of 6 classes",
    ),
    "request": (lambda t, b: ([b], ["a cat"], {}), RequestError, "found a cat"),
    "same": (lambda t, b: ([b], ["1", "01"], {}), ConfigError, "every request once"),
    "nothing": (lambda t, b: ([b], [], {}), ConfigError, "at least one request and one seed"),
    "batch_size": (lambda t, b: ([b], ["0"], {"batch_size": 0}), ConfigError, "a batch size of at least 1"),
    "place": (lambda t, b: ([b], ["0"], {"out": t / "a.jpg"}), ConfigError, "ends in .png"),
    "there": (lambda t, b: ([b], ["0"], {"out": there(t)}), CheckpointError, "not to exist yet.*--overwrite"),
    "nowhere": (lambda t, b: ([b], ["0"], {"out": t / "no" / "a.png"}), CheckpointError, "the folder '.*no'"),
    "size": (
        lambda t, b: ([checkpoint(t / "c", 1.0, form=[3, 20000, 9000])], ["0"], {}),
        ConfigError,
        "at most 100 million pixels, but found 180 million",
    ),
    "device": (lambda t, b: ([b], ["0"], {"device": "cuda:77"}), ConfigError, "a device that is there"),
}


def there(tmp_path):
    (tmp_path / "there.png").write_bytes(b"older")
    return tmp_path / "there.png"


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_before_anybody_draws(case, before, tmp_path):
    arguments, kind, sentence = REFUSED[case]
    checkpoints, ask, options = arguments(tmp_path, before)
    out = options.pop("out", tmp_path / "grid.png")
    with pytest.raises(kind, match=sentence) as caught:
        quiet(checkpoints, ask, [0], out, **options)
    assert "\n" not in str(caught.value)
    assert FlatSampler.heard == []
    assert not (tmp_path / "grid.png").exists()


def test_an_older_file_is_replaced_where_that_is_allowed(before, tmp_path):
    quiet([before], ["0"], [0], there(tmp_path), overwrite=True)
    with Image.open(tmp_path / "there.png") as picture:
        assert picture.size[1] > 96 + 2 * LINE_HEIGHT


def test_names_of_a_damaged_result_are_refused_not_guessed(before, after, tmp_path):
    (after / "result.json").write_text("{")
    with pytest.raises(DataError, match=r"a readable 'result.json' in .*forget-coat"):
        quiet([before, after], ["0"], [0], tmp_path / "grid.png")
    assert quiet([after / "unlearned"], ["0"], [0], tmp_path / "grid.png").columns == ("class 0, seed 0",)


def test_classifiers_draw_no_images(tmp_path):
    assert not Classification().detects(tmp_path)
    for call in (lambda: Classification().load(tmp_path), lambda: Classification().make_sampler(nn.Identity())):
        with pytest.raises(ExpungeError, match="a family of models that draw images, but found classification"):
            call()


def call(*arguments):
    return CliRunner().invoke(app, ["sample", *map(str, arguments)], prog_name="expunge")


def test_the_command_writes_the_file_and_says_so(before, after, tmp_path):
    done = call(
        before, after, "--prompt", "coat", "--prompt", "0", "--seeds", "0-1", "--out", tmp_path / "g.png", "--steps", 7
    )
    assert done.exit_code == 0
    assert done.stdout.endswith(f"Wrote {tmp_path / 'g.png'}\n")
    assert [heard[4] for heard in FlatSampler.heard] == [7] * 4
    again = call(before, "--prompt", "0", "--out", tmp_path / "g.png")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert call(before, "--prompt", "0", "--out", tmp_path / "g.png", "--overwrite").exit_code == 0


@pytest.fixture(scope="module")
def unet():
    library = diffusers()
    torch.manual_seed(0)
    return library.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        num_class_embeds=4,
    )


def test_a_diffusers_folder_and_a_run_folder_draw_what_sample_draws(unet, tmp_path):
    from expunge.tasks.diffusion.ddpm import DDPM
    from expunge.tasks.diffusion.sampling import sample

    model = DDPM(unet, diffusers().DDPMScheduler(num_train_timesteps=50))
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        unet.conv_out.bias += 0.1
    other = DDPM(unet, model.scheduler)
    (tmp_path / "run").mkdir()
    other.save_pretrained(tmp_path / "run" / "unlearned")
    grid = quiet([tmp_path / "base", tmp_path / "run"], ["2", "0"], [5, 6], tmp_path / "g.png", steps=3, batch_size=3)
    assert not torch.equal(*grid.rows.values())
    for column, (label, seed) in enumerate([(2, 5), (2, 6), (0, 5), (0, 6)]):
        expected = (sample(other, torch.tensor([label]), steps=3, seed=seed)[0] + 1) / 2
        torch.testing.assert_close(grid.rows["run"][column], expected, atol=1e-5, rtol=0)
    with pytest.raises(RequestError, match=r"a class from 0 to 2, as the model knows classes.*found 'a cat'"):
        quiet([tmp_path / "base"], ["a cat"], [0], tmp_path / "h.png")
    with pytest.raises(RequestError, match=r"a class from 0 to 2, .*found '3'"):
        quiet([tmp_path / "base"], ["3"], [0], tmp_path / "h.png")
    with pytest.raises(ConfigError, match="guidance ≥ 0"):
        quiet([tmp_path / "base"], ["1"], [0], tmp_path / "h.png", guidance=-1.0)


def test_a_pipeline_folder_draws_its_prompts(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        model.unet.conv_out.bias += 0.3
    (tmp_path / "run").mkdir()
    model.save_pretrained(tmp_path / "run" / "unlearned")
    asked, out = ["a photo of cat", "dog"], tmp_path / "g.png"
    grid = quiet([tmp_path / "base", tmp_path / "run"], asked, [3, 9], out, steps=2, batch_size=3)
    assert grid.columns == ("a photo of cat, seed 3", "a photo of cat, seed 9", "dog, seed 3", "dog, seed 9")
    expected = model.images(["dog"], [3], guidance=7.5, steps=2)[0]
    torch.testing.assert_close(grid.rows["run"][2], expected, atol=1e-4, rtol=0)
    assert not torch.equal(*grid.rows.values())
    with pytest.raises(RequestError, match=f"at most {LIMIT - 2}|{LIMIT}"):
        quiet([tmp_path / "base"], ["dog " * 40], [0], tmp_path / "h.png")


def test_a_pipeline_that_is_not_supported_is_refused_by_its_class(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "base")
    index = tmp_path / "base" / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "PixArtAlphaPipeline"))
    with pytest.raises(
        ModelError, match=r"a pipeline with a U-Net .*StableDiffusionPipeline.*found PixArtAlphaPipeline"
    ):
        quiet([tmp_path / "base"], ["dog"], [0], tmp_path / "h.png")
