"""The diffusion guide's code runs from top to bottom, on small models, and leaves what the guide says it leaves."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch
from tiny_pipeline import libraries, tiny_pipeline

from expunge.tasks.diffusion.small_unet import small_ddpm

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "guides" / "diffusion.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the code has defined, where it ran, and what it printed."""
    libraries()
    pytest.importorskip("peft", reason="peft is not installed (extra 'diffusion')")
    place, printed, names = tmp_path_factory.mktemp("guide"), io.StringIO(), {"__name__": "guide"}
    with contextlib.chdir(place), contextlib.redirect_stdout(printed):
        tiny_pipeline().save_pretrained("stable-diffusion")
        small_ddpm(8).save_pretrained("ddpm")
        for block in BLOCKS:
            exec(compile(block, "diffusion.md", "exec"), names)
    return names, place, printed.getvalue()


def test_it_prints_how_many_examples_there_are(ran):
    assert "8 latents to forget, 12 to keep" in ran[2]


@pytest.mark.parametrize("name", ["quick", "careful", "bounded"])
def test_every_method_changes_the_u_net_and_leaves_the_original(ran, name):
    names = ran[0]
    with contextlib.chdir(ran[1]):
        fresh = names["TextToImage"].from_pretrained("stable-diffusion")
    for key, weight in fresh.unet.state_dict().items():
        assert torch.equal(weight, names["original"].unet.state_dict()[key])
    changed = names[name].model.unet.state_dict()
    assert any(not torch.equal(weight, changed[key]) for key, weight in fresh.unet.state_dict().items())


def test_the_folder_is_the_unlearned_pipeline(ran):
    names, place, _ = ran
    saved, unlearned = names["pipeline"].unet.state_dict(), names["careful"].model.unet.state_dict()
    assert all(torch.equal(weight, unlearned[key]) for key, weight in saved.items())
    layout = {path.name for path in (place / "stable-diffusion").iterdir()}
    assert {path.name for path in (place / "run" / "unlearned").iterdir()} == layout


def test_the_adapter_is_saved_alone(ran):
    names, place, _ = ran
    assert [path.suffix for path in (place / "adapter").iterdir()] == [".safetensors"]
    assert not any("lora" in key for key in names["original"].unet.state_dict())


def test_the_grid_has_a_row_for_each_model_and_a_column_for_each_prompt_and_seed(ran):
    names, place, _ = ran
    assert list(names["grid"].rows) == ["original", "UCE", "EUPMU", "EUPMU + keep_unless_harmful"]
    assert len(names["grid"].columns) == 10
    assert (place / "before-and-after.png").read_bytes()[1:4] == b"PNG"
    assert (place / "run-digits" / "unlearned" / "unet").is_dir()


def test_the_prompt_file_is_drawn_by_the_unlearned_model(ran):
    names = ran[0]
    assert (names["drawn"].prompts, names["drawn"].seeds.tolist()) == (("a red car", "a cat"), [17, 4])
    alone = names["careful"].model.images(["a cat"], [4], guidance=7.5, steps=25)[0]
    torch.testing.assert_close(names["drawn"].images[1], alone, atol=1e-4, rtol=0)


def test_links_lead_somewhere():
    links = re.findall(r"\]\((\.\./[^)#]+)\)", TEXT)
    assert links
    assert all((ROOT / "docs" / "guides" / link).resolve().exists() for link in links)


def test_methods_that_it_names_are_registered():
    from expunge.registry import is_registered

    assert all(is_registered("methods", name) for name in ("uce", "eupmu", "lur", "salun", "rl", "esd"))


def test_the_request_file_is_one(tmp_path):
    from expunge.request.config import load_request
    from expunge.tasks.stable_diffusion.request import StableDiffusionConfig

    text = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0]
    (tmp_path / "stable-diffusion").mkdir()
    (tmp_path / "style.yaml").write_text(text)
    found = load_request(tmp_path / "style.yaml")
    assert isinstance(found, StableDiffusionConfig)
    assert found.out == tmp_path / "runs" / "style"
    assert found.model == str(tmp_path / "stable-diffusion")
