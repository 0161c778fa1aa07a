"""The model: its prompts, its images, its files, its copies."""

import copy
import json
import sys

import pytest
import torch
from tiny_pipeline import LIMIT, libraries, tiny_model, tiny_pipeline

from expunge.errors import CheckpointError, ConfigError, DataError, MissingExtraError, ModelError, RequestError
from expunge.tasks.diffusion.denoiser import Denoiser, as_denoiser
from expunge.tasks.stable_diffusion import pipelines
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

PROMPTS = ["a photo of a cat", "a dog", ""]
QUICK = {"steps": 3, "guidance": 3.0}


@pytest.fixture(scope="module")
def model():
    return tiny_model(PROMPTS)


def images(count=3, seed=0):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_images_are_those_of_the_librarys_own_pipeline(model):
    """Same noise, same schedule, same guidance, same decoder: bit for bit what diffusers draws."""
    diffusers, _ = libraries()
    pipeline = tiny_pipeline()
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        PROMPTS,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(seed) for seed in (4, 5, 6)],
        output_type="pt",
    ).images
    torch.testing.assert_close(model.images(PROMPTS, [4, 5, 6], **QUICK), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.images(PROMPTS, 4, **QUICK), expected, rtol=0, atol=1e-6)


def test_an_image_depends_on_its_prompt_and_its_seed_alone(model):
    whole = model.images(PROMPTS, 4, **QUICK)
    torch.testing.assert_close(model.images(PROMPTS, 4, batch_size=2, **QUICK), whole)
    torch.testing.assert_close(model.images(PROMPTS[1:2], 5, **QUICK), whole[1:2])
    other = model.images(PROMPTS[:1] * 2, [4, 9], **QUICK)
    torch.testing.assert_close(other[0], whole[0])
    assert not torch.allclose(other[1], whole[0], atol=1e-3)
    made = []
    model.images(PROMPTS, batch_size=2, on_images=lambda *done: made.append(done), **QUICK)
    assert made == [(2, 3), (3, 3)]


def test_numbers_stand_for_prompts(model):
    assert model.prompts == ("a photo of a cat", "a dog", "")
    assert (model.classes, model.null_class, model.sample_shape, model.has_bounded_samples) == (2, 2, (4, 4, 4), False)
    assert model.prompt_indices(["a dog", "", "a dog"]).tolist() == [1, 2, 1]
    noisy, times = torch.randn(2, 4, 4, 4), torch.tensor([3, 700])
    found = model(noisy, times, torch.tensor([1, 2]))
    table = model.embed(["a dog", ""])
    expected = model.unet(noisy, times, encoder_hidden_states=table).sample
    assert torch.equal(found, expected)
    assert not torch.allclose(found, model(noisy, times, torch.tensor([0, 2])))
    with pytest.raises(RequestError, match="a prompt of the model's table, but found 'a car'"):
        model.prompt_indices(["a car"])


def test_a_told_model_shares_the_network_and_leaves_the_other_as_it_was(model):
    other = model.with_prompts(["a car", "a car"])
    assert other.unet is model.unet
    assert (other.prompts, model.prompts[0]) == (("a car", ""), "a photo of a cat")
    assert len(model.prompt_embeddings) == 3
    assert list(other.state_dict()) == list(model.state_dict())
    assert all(name.startswith("unet.") for name in model.state_dict()), "prompts are no weights"


def test_a_copy_has_a_network_of_its_own_and_shares_the_rest(model):
    other = copy.deepcopy(model)
    assert other.frozen_components is model.frozen_components
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    assert not torch.equal(next(other.parameters()), next(model.parameters()))
    assert other.pipeline.unet is other.unet
    assert other.pipeline.vae is model.pipeline.vae


def test_latents_are_scaled_means_of_the_autoencoder(model):
    vae, pixels = model.pipeline.vae, images()
    with torch.no_grad():
        expected = vae.encode(2 * pixels - 1).latent_dist.mean * vae.config.scaling_factor
    torch.testing.assert_close(model.encode(pixels, batch_size=2), expected)
    with torch.no_grad():
        back = vae.decode(expected / vae.config.scaling_factor).sample / 2 + 0.5
    torch.testing.assert_close(model.decode(expected, batch_size=2), back.clamp(0, 1))


def test_images_come_as_a_list_too(model):
    from PIL import Image

    pixels = (images() * 255).round().byte()
    pictures = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in pixels]
    torch.testing.assert_close(model.encode(pictures), model.encode(list(pixels / 255)))


def test_the_whole_pipeline_is_written_and_read_again(model, tmp_path):
    place = model.save_pretrained(tmp_path / "model")
    index = json.loads((place / "model_index.json").read_text())
    assert (index["_class_name"], index["requires_safety_checker"]) == ("StableDiffusionPipeline", False)
    assert not list(place.rglob("*.bin"))
    again = TextToImage.from_pretrained(place)
    assert torch.equal(again.images(PROMPTS, **QUICK), model.images(PROMPTS, **QUICK))
    with pytest.raises(CheckpointError, match="not there yet"):
        model.save_pretrained(place)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert next(TextToImage.from_pretrained(place, dtype=torch.bfloat16).parameters()).dtype == torch.bfloat16


def test_the_safety_checker_is_neither_dropped_nor_changed(tmp_path):
    _, transformers = libraries()
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sight = {**size, "image_size": 8, "patch_size": 4}
    config = transformers.CLIPConfig(text_config=size, vision_config=sight, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config)
    # The first versions 5 have one class alone; later ones need torchvision for that of the plain name.
    looking = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    changes = {"safety_checker": checker, "feature_extractor": looking()}
    model = TextToImage(tiny_pipeline(**changes, requires_safety_checker=True))
    assert model.pipeline.safety_checker is checker
    again = TextToImage.from_pretrained(model.save_pretrained(tmp_path / "model")).pipeline.safety_checker
    pairs = zip(checker.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_type_of_numbers_is_that_of_table_and_answer(model):
    double = tiny_model(PROMPTS, torch.float64)
    noisy = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    found = double(noisy.double(), torch.tensor([3, 9]), torch.tensor([0, 1]))
    assert found.dtype == torch.float64
    single = model(noisy, torch.tensor([3, 9]), torch.tensor([0, 1]))
    torch.testing.assert_close(found.float(), single, rtol=1e-4, atol=1e-5)


def test_prompts_that_would_be_cut_off_are_refused(model):
    long = "a " * (LIMIT - 2)
    assert len(model.with_prompts([long.strip()]).prompts) == 2
    with pytest.raises(RequestError, match=rf"at most {LIMIT} tokens, start and end included, but found {LIMIT + 1}"):
        model.with_prompts([long + "a"])
    with pytest.raises(RequestError, match="at most"):
        model.images([long + "a"])
    with pytest.raises(RequestError, match="prompts as text"):
        model.embed([3])
    with pytest.raises(RequestError, match="written as UTF-8"):
        model.embed(["a \ud800 cat"])


def test_images_that_do_not_fit_are_refused(model):
    with pytest.raises(DataError, match=r"images of one shape, but found \(3, 8, 8\) and \(3, 9, 9\)"):
        model.encode([torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)])
    with pytest.raises(DataError, match=r"images \(3, 8, 8\), channels first, but found \(1, 8, 8\)"):
        model.encode(torch.zeros(2, 1, 8, 8))
    with pytest.raises(DataError, match=r"scaled to \[0, 1\], but found values from 0 to 255"):
        model.encode(torch.linspace(0, 255, 192).view(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="2 seeds, one for each image, but found 1"):
        model.images(PROMPTS[:2], [1])
    with pytest.raises(ModelError, match="a multiple of 2 pixels"):
        TextToImage(tiny_pipeline(), size=9)
    assert TextToImage(tiny_pipeline(), size=16).sample_shape == (4, 8, 8)


def test_pipelines_that_cannot_be_unlearned_are_refused(tmp_path):
    diffusers, _ = libraries()
    image = diffusers.DDPMPipeline(diffusers.UNet2DModel(sample_size=8), diffusers.DDPMScheduler())
    with pytest.raises(ModelError, match=r"reads prompts \(StableDiffusionPipeline.*\), but found DDPMPipeline"):
        TextToImage(image)
    (tmp_path / "flux").mkdir()
    (tmp_path / "flux" / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(ModelError, match=r"StableDiffusionPipeline.*but found FluxPipeline"):
        TextToImage.from_pretrained(tmp_path / "flux")
    pipeline = tiny_pipeline()
    pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    with pytest.raises(ModelError, match="'v_prediction'"):
        TextToImage(pipeline)
    with pytest.raises(ModelError, match="a DDPM, a network with its noise schedule, but found Linear"):
        as_denoiser(torch.nn.Linear(1, 1))


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument")
def test_unreadable_folders_are_refused(model, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"a file 'model_index.json'"):
        TextToImage.from_pretrained(tmp_path / "empty")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="a readable pipeline in"):
        TextToImage.from_pretrained("nobody/nothing-of-that-name")
    weights = model.save_pretrained(tmp_path / "model") / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match="weights as safetensors") as caught:
        TextToImage.from_pretrained(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_one_sentence_with_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'expunge\[diffusion\]'"):
        pipelines.read_pipeline("anything")


def test_a_text_to_image_model_is_a_denoiser(model):
    assert isinstance(model, Denoiser)
    assert as_denoiser(model) is model
    assert torch.equal(model.alphas_cumprod, model.pipeline.scheduler.alphas_cumprod)
