"""Folders of pipelines as people have them: one variant alone, settings that are no mapping, and too many steps."""

from __future__ import annotations

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from expunge.errors import CheckpointError, ConfigError
from expunge.tasks.diffusion.sampling import check_steps
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pipelines") / "half_width"
    tiny_pipeline().to(torch.float16).save_pretrained(place, variant="fp16")
    return place


def test_a_folder_with_one_variant_alone_is_read(folder):
    model, asked = TextToImage.from_pretrained(folder), TextToImage.from_pretrained(folder, variant="fp16")
    rounded = tiny_pipeline().unet.half().state_dict()
    for found in (model, asked):
        state = found.unet.state_dict()
        assert all(torch.equal(state[name].half(), value) for name, value in rounded.items())


def test_a_variant_that_is_not_there_is_refused(folder):
    with pytest.raises(CheckpointError, match="a readable pipeline"):
        TextToImage.from_pretrained(folder, variant="ema")


@pytest.mark.parametrize("text", ["[1]", "null", '"x"', "3", "{", ""])
@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_settings_that_are_no_mapping_are_named(text, file, folder):
    path = folder / file
    whole = path.read_text()
    path.write_text(text)
    try:
        with pytest.raises(CheckpointError, match=rf"'{path.name}' in '"):
            TextToImage.from_pretrained(folder)
    finally:
        path.write_text(whole)


def test_more_steps_than_the_schedule_has_are_refused_with_how_many_it_has():
    model = TextToImage(tiny_pipeline())
    length, offset = (model.scheduler.config[name] for name in ("num_train_timesteps", "steps_offset"))
    most = length - offset
    check_steps(model, most)
    for steps in {most + 1, length + 1, 10**6} - {most}:
        with pytest.raises(
            ConfigError, match=rf"at most {most} sampling steps, .*schedule of {length}, but found {steps}"
        ):
            model.images(["a cat"], steps=steps)
