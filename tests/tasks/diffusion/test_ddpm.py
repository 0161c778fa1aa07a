"""The model: its parts, its files, its training."""

import json

import pytest
import torch
from flat_calls import flat_unlearn
from small_diffusion import CLASSES, Denoiser, diffusers, image_batch, schedule, small_model

from expunge.data import TensorExamples
from expunge.engine import ModelEMA
from expunge.errors import CheckpointError, ConfigError, DataError, ModelError, NotFiniteError
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.small_unet import small_ddpm
from expunge.tasks.diffusion.training import DiffusionTrainSettings, train_ddpm

ALL = image_batch(0, size=40)
EXAMPLES = TensorExamples(ALL.inputs, ALL.targets)


def unet():
    diffusers()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return small_ddpm(8, widths=(8, 8), steps=50)


def equal(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_model_is_saved_in_the_layout_of_the_library_and_read_again(tmp_path):
    model = unet()
    place = model.save_pretrained(tmp_path / "model")
    files = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert files == [
        "classes.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    again = DDPM.from_pretrained(place)
    assert equal(again, model)
    assert (again.classes, again.null_class, again.sample_shape) == (10, 10, (1, 8, 8))
    assert torch.equal(again.alphas_cumprod, model.alphas_cumprod)
    assert not again.training
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_folder_is_replaced_only_on_request(tmp_path):
    model = unet()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "unet_ema").mkdir()
    with pytest.raises(CheckpointError, match="not there yet"):
        model.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model", overwrite=True)
    assert not (tmp_path / "model" / "unet_ema").exists(), "an old copy would still remember"


def test_averaged_weights_are_the_model_where_there_are_any(tmp_path):
    library, model = diffusers(), unet()
    place = model.save_pretrained(tmp_path / "model")
    ema = library.training_utils.EMAModel(
        model.unet.parameters(), model_cls=type(model.unet), model_config=model.unet.config
    )
    for piece in ema.shadow_params:
        piece.fill_(0.25)
    ema.save_pretrained(place / "unet_ema")
    assert all(bool((weight == 0.25).all()) for weight in DDPM.from_pretrained(place).parameters())


def test_a_run_leaves_a_model_that_can_be_read_and_its_settings(tmp_path):
    images = 2 * torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1
    sides = [TensorExamples(images[part], torch.arange(20)[part] // 5) for part in (slice(0, 5), slice(5, 20))]
    settings = {"task": "diffusion", "method": "rl", "epochs": 1, "batch_size": 8, "ema_decay": 0.5}
    result = flat_unlearn(unet(), forget=sides[0], retain=sides[1], **settings)
    run = result.save(tmp_path / "run")
    assert equal(DDPM.from_pretrained(run / "unlearned"), result.model)
    config = json.loads((run / "config.json").read_text())
    assert (config["method"]["optimizer"], config["run_config"]["ema_decay"]) == ("adamw", 0.5)
    with pytest.raises(ConfigError, match="an earlier run"):
        result.save(tmp_path / "run")
    result.save(tmp_path / "run", overwrite=True)


def test_unreadable_folders_are_refused(tmp_path):
    model = unet()
    with pytest.raises(CheckpointError, match="a folder 'unet'"):
        DDPM.from_pretrained(tmp_path)
    place = model.save_pretrained(tmp_path / "model")
    weights = place / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match="safetensors"):
        DDPM.from_pretrained(place)


def test_sizes():
    diffusers()
    counts = {size: sum(p.numel() for p in small_ddpm(size).parameters()) for size in (8, 28)}
    assert counts[8] == pytest.approx(160_000, rel=0.02)
    assert counts[28] == pytest.approx(620_000, rel=0.06)
    with pytest.raises(ConfigError, match="multiples of 8"):
        small_ddpm(8, widths=(12, 16))
    with pytest.raises(ConfigError, match="9 pixels"):
        small_ddpm(9, widths=(8, 8))


def test_a_network_of_the_library_takes_a_batch():
    model = unet()
    out = model(torch.zeros(3, 1, 8, 8), torch.tensor([0, 20, 49]), torch.tensor([0, 3, 10]))
    assert out.shape == (3, 1, 8, 8)


def test_what_is_no_conditional_model_is_refused():
    plain = Denoiser()
    plain.config.num_class_embeds = None
    with pytest.raises(ModelError, match="embeds classes"):
        DDPM(plain, schedule())
    with pytest.raises(ModelError, match="an embedding for each class"):
        DDPM(Denoiser(), schedule(), CLASSES + 2)
    other = schedule()
    other.config.prediction_type = "v_prediction"
    with pytest.raises(ModelError, match="'v_prediction'"):
        DDPM(Denoiser(), other)
    assert DDPM(Denoiser(CLASSES), schedule(), CLASSES).null_class is None


def trained(**settings):
    model = small_model()
    record = train_ddpm(
        model, EXAMPLES, DiffusionTrainSettings(**{"updates": 60, "batch_size": 16, "warmup_updates": 5, **settings})
    )
    return model, record


def test_training_is_repeatable_and_leaves_the_callers_generator_alone():
    state = torch.get_rng_state()
    (first, record), (second, _), (third, _) = trained(), trained(), trained(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(first, second)
    assert not equal(first, third)
    assert record.updates == 60
    assert not first.training


def test_training_learns():
    losses = []
    train_ddpm(
        small_model(), EXAMPLES, DiffusionTrainSettings(updates=400, lr=0.02), on_update=lambda *row: losses.append(row)
    )
    assert [row[0] for row in losses[:2]] == [1, 26]
    assert losses[-1][:2] == (400, 400)
    assert losses[-1][2] < 0.6 * losses[0][2]


def test_the_average_is_what_training_hands_over(monkeypatch):
    seen = []
    update = ModelEMA.update
    monkeypatch.setattr(
        ModelEMA, "update", lambda self, weights: seen.append(weights[0].detach().clone()) or update(self, weights)
    )
    model, _ = trained(ema_decay=0.9)
    expected = next(small_model().parameters()).detach().double()
    for count, weight in enumerate(seen):
        b = min(0.9, (1 + count) / (10 + count))
        expected = b * expected + (1 - b) * weight.double()
    torch.testing.assert_close(next(model.parameters()).detach().double(), expected, rtol=1e-4, atol=1e-6)


def test_every_example_is_met_once_in_a_pass():
    met = []

    class Counting(TensorExamples):
        def batch(self, indices):
            met.extend(indices.tolist())
            return super().batch(indices)

    model = small_model()
    train_ddpm(model, Counting(ALL.inputs, ALL.targets), DiffusionTrainSettings(updates=5, batch_size=8))
    assert sorted(met) == list(range(40))


def test_bad_trainings_are_refused():
    with pytest.raises(ConfigError, match="lr > 0"):
        DiffusionTrainSettings(lr=0.0)
    with pytest.raises(ConfigError, match="ema_decay"):
        DiffusionTrainSettings(ema_decay=1.0)
    with pytest.raises(DataError, match="examples to train on"):
        train_ddpm(small_model(), TensorExamples(ALL.inputs[:0], ALL.targets[:0]))
    with pytest.raises(NotFiniteError, match="at update 0"):
        train_ddpm(small_model(), TensorExamples(ALL.inputs * float("nan"), ALL.targets))


def test_a_model_without_a_null_class_is_one_after_reading_too(tmp_path):
    library = diffusers()
    made = small_ddpm(8, classes=4, widths=(8, 8), steps=50)
    without = DDPM(made.unet, library.DDPMScheduler(num_train_timesteps=50), classes=5)
    folder = without.save_pretrained(tmp_path / "model")
    assert DDPM.from_pretrained(folder).null_class is None
    assert DDPM.from_pretrained(folder, classes=4).null_class == 4
    for wrong in ("[]", "{}", '{"classes": "5"}', '{"classes": true}', "no"):
        (folder / "classes.json").write_text(wrong)
        with pytest.raises(CheckpointError, match="a number of classes"):
            DDPM.from_pretrained(folder)
    (folder / "classes.json").unlink()
    assert DDPM.from_pretrained(folder).null_class == 4
