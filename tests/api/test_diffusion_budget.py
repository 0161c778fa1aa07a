"""Budgets of diffusion models: the loss on held-out images of what stays, kept and certified; what is refused."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from flat_calls import flat_unlearn
from small_diffusion import CLASSES, MODELS, SIZE, diffusers, reading, small_model
from written_requests import write_lines

from expunge.api import run_request
from expunge.api.steering import lr_range_test
from expunge.api.steering.cooldown import Cooldown
from expunge.api.steering.lr_range_test import LearningRateRangeTest
from expunge.budget import Budget, bootstrap_bound, evaluate_model, split_holdout
from expunge.budget.holdout_evaluation import compute_losses
from expunge.data import Subset, TensorExamples
from expunge.errors import ConfigError, DataError
from expunge.methods import build_method
from expunge.request.config import load_request
from expunge.tasks.stable_diffusion.task import StableDiffusion
from expunge.tasks.task import Recognition

DIGITS = MODELS / "digits"
GONE = 3


def stripes(count, seed):
    """Images of each class: stripes at its own place, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = 0.1 * torch.randn(count, 1, SIZE, SIZE, generator=generator)
    images[torch.arange(count), 0, labels] += 0.7
    return TensorExamples(images.clamp(-1, 1), labels)


@pytest.fixture(scope="module")
def case():
    """A model of a few dozen weights that has learnt them, and the request for one class."""
    model, data = small_model(), stripes(240, 0)
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=0.02), data.batch(torch.arange(240))
    for step in range(150):
        optimizer.zero_grad()
        drawn = batch.slice(0, 240) if step < 1 else data.batch(torch.randperm(240, generator=seeded(step)))
        (reading(model).sum_loss(drawn) / 240).backward()
        optimizer.step()
    gone = data.targets == GONE
    sides = {"forget": Subset(data, gone.nonzero().flatten()), "retain": Subset(data, (~gone).nonzero().flatten())}
    return model.eval(), {**sides, "holdout": stripes(400, 1)}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def asked(case, **more):
    model, sides = case
    plain = {"task": "diffusion", "method": "random_labels_with_budget", "batch_size": 60, "epochs": 8, "lr": 0.003}
    return flat_unlearn(model, **{**plain, "budget": Budget(loss_increase=0.1), **sides, **more})


def halves(case):
    held = case[1]["holdout"]
    return [Subset(held, half) for half in split_holdout(held.targets, 0, excluded_classes=[GONE])]


def test_a_rise_of_the_loss_is_kept_and_bounded(case):
    before = copy.deepcopy(case[0].state_dict())
    result = asked(case)
    found, handed = result.budget, result.budget.evaluations[result.budget.chosen]
    control, certify = halves(case)
    loss = {name: evaluate_model(reading(model), control).loss for name, model in (("a", case[0]), ("b", result.model))}
    assert found.chosen > 0
    assert handed.spent == pytest.approx(loss["b"] / loss["a"] - 1, rel=1e-4)
    assert handed.spent <= 0.1
    assert all(look.accuracy is None for look in found.evaluations)
    first, now = (compute_losses(reading(model), certify) for model in (case[0], result.model))
    assert len(first) == len(certify) == 150
    assert found.certificate.drop == pytest.approx(now.mean() / first.mean() - 1, rel=1e-4)
    assert found.certificate.bound == pytest.approx(bootstrap_bound(now - first, first, 1e-9), rel=1e-3)
    assert (found.certificate.kind, found.certified, found.uses_model_error) == ("mean", None, True)
    assert "of the held-out loss" in found.summary
    assert all(torch.equal(value, before[name]) for name, value in case[0].state_dict().items())
    noted = [row for row in result.history if "spent" in row]
    assert [row["spent"] for row in noted] == [look.spent for look in found.evaluations[1:]]


def test_the_tolerance_is_a_share_of_all_of_the_loss(case):
    """The least loss of classifiers, .05 nats, would be a large part of a denoising loss."""
    found = asked(case, epochs=2).budget
    assert found.budget.min_base_loss < 1e-6
    assert {look.tolerance for look in found.evaluations} == {0.1 * found.evaluations[0].loss}


def test_it_lands_once_the_class_is_no_longer_recognized(case, monkeypatch):
    limit, landed, after = {"limit": 1.0}, [], Cooldown.starting_after
    noted = classmethod(lambda cls, progress, least: landed.append(progress.step + 1) or after(progress, least))
    monkeypatch.setattr(Cooldown, "starting_after", noted)
    monkeypatch.setattr(
        "expunge.tasks.diffusion.task.measure_recognition", lambda predict, examples: Recognition(0.4, **limit)
    )
    result = asked(case, lr=1e-4)
    assert (result.budget.target_met, result.budget.limit) == (True, 1.0)
    assert landed == [result.budget.evaluations[1].step]
    limit["limit"] = 0.25
    found = asked(case, lr=1e-4).budget
    assert (found.within_budget, found.target_met) == (True, False)
    assert found.evaluations[found.chosen].shortfall == pytest.approx(0.15)
    assert "40 % of the class are still recognized" in found.summary
    assert len(landed) == 1


def test_a_budget_that_nothing_keeps_gives_the_model_back(case):
    result = asked(case, lr=3.0, epochs=1, budget=Budget(loss_increase=0.001))
    assert (result.budget.chosen, result.budget.certificate) == (0, None)
    assert all(torch.equal(a, b) for a, b in zip(result.model.parameters(), case[0].parameters(), strict=True))


def test_a_metric_of_ones_own_is_kept_too(case):
    def early(predict, examples):
        """The model's error on images that are hardly noised, of each image, between 0 and 9."""
        batch = examples.batch(torch.arange(len(examples)))
        times = torch.zeros(len(examples), dtype=torch.int64)
        said = predict({"sample": batch.inputs, "timestep": times, "class_labels": batch.targets})
        return said.square().flatten(1).mean(1).clamp(max=9)

    found = asked(case, budget=Budget(metric=early, max_drop=1.0, higher_is_better=False, bounds=(0, 9))).budget
    assert (found.certificate.kind, found.certificate.exact) == ("bounded mean", True)
    assert found.evaluations[found.chosen].spent <= 1.0
    assert found.evaluations[0].tolerance == pytest.approx(0.05 * found.evaluations[0].loss)


def test_auto_finds_a_rate_on_the_control_half_alone(case, monkeypatch):
    """The range test sees what steers, never what certifies, and its trials are held to the budget."""
    seen = []

    class Watched(LearningRateRangeTest):
        def run_trials(self, lrs, search_deadline):
            seen.append((self.split.holdout, self.budget))
            return super().run_trials(lrs, search_deadline)

    monkeypatch.setattr(lr_range_test, "LearningRateRangeTest", Watched)
    monkeypatch.setattr(lr_range_test, "TRIAL_STEPS", 4)
    monkeypatch.setattr(lr_range_test, "MAX_STEPS", 10)
    model, sides = case
    result = flat_unlearn(model, task="diffusion", budget=Budget(loss_increase=0.2), batch_size=60, **sides)
    control, certify = halves(case)
    ((judged, budget),) = seen
    assert torch.equal(judged.targets, control.targets)
    assert len(judged) == len(control) < len(sides["holdout"])
    assert (budget.loss_increase, len(certify)) == (0.2, 150)
    trials = result.search_history["rounds"][0]["trials"]
    assert all(trial["spent"] <= 0.2 for trial in trials[:-1])
    assert (result.search_history["examples"], result.search_history["lr"]) == ("control", result.method.lr)
    assert result.method.label == "Budgeted + feasible"
    assert 10 < len(result.history) <= lr_range_test.BUDGET_STEP_FACTOR * 10
    assert result.budget.evaluations[result.budget.chosen].spent <= 0.2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"budget": Budget(accuracy_points=1.0)},
            ConfigError,
            "for a model without classes, but found points: write for exam",
        ),
        ({"holdout": None}, DataError, "held-out examples to measure the budget on"),
        ({"method": "rl"}, ConfigError, "one descent whose surgery keeps a budget, but found WeightedSum"),
        ({"method": "eupmu"}, ConfigError, "one descent whose surgery keeps a budget, but found EUPMUSurgery"),
        ({"ema_decay": 0.9}, ConfigError, "found ema_decay= beside it"),
    ],
)
def test_what_cannot_be_promised_is_refused_in_one_sentence(case, options, error, words):
    steps = []
    with pytest.raises(error, match=words) as caught:
        asked(case, on_step=steps.append, **options)
    assert "\n" not in str(caught.value)
    assert steps == []


def test_models_that_read_prompts_keep_none():
    from expunge.api.steering.budget_validation import adapt_to_task, validate_budget

    wish = validate_budget(Budget(loss_increase=0.1), "budget", {}, None)
    with pytest.raises(ConfigError, match="class-conditional diffusion model for a budget, but found a model of the"):
        adapt_to_task(wish, StableDiffusion())


def test_what_auto_stands_for_inside_a_budget_can_be_steered():
    from expunge.api.steering.budget_validation import find_controllable_surgery
    from expunge.tasks.diffusion.task import Diffusion

    family = Diffusion()
    method = build_method(family.select_default_method(has_budget=True))
    assert find_controllable_surgery(family.translate_recipe(method.recipe())).tolerance > 0
    assert family.select_default_method(has_budget=False) == Diffusion.default_method


LINES = {
    "task": "diffusion",
    "model": f"'{DIGITS / 'ddpm'}'",
    "data": "{name: digits, subset: 200}",
    "forget": "{class: 3}",
    "method": "{name: random_labels_with_budget, epochs: 1, batch_size: 32, lr: 0.00003}",
    "images": "{forgotten: 3, remaining: 9, steps: 2}",
    "holdout": "0.5",
    "budget": "{loss_increase: 0.2}",
    "threads": "1",
    "ledger": "ledger.sqlite",
    "out": "run",
}


def write(folder, **changes):
    return write_lines(folder, LINES, **changes)


def test_a_request_file_is_answered_inside_its_budget(tmp_path, monkeypatch):
    diffusers()
    monkeypatch.setattr("expunge.api.steering.criterion.CHECK_SIZE", 8)
    path = run_request(load_request(write(tmp_path)))
    part = json.loads((path / "result.json").read_text())["requests"][0]
    told, spent = part["budget"], part["spent"]
    assert told["limit"]["loss_increase"] == 0.2
    assert told["evaluations"][told["chosen"]]["spent"] <= 0.2
    assert told["criterion"]["uses_model_error"] is True
    assert (told["certificate"]["kind"], spent["unit"], spent["exact"]) == ("mean", "relative loss", False)
    assert spent["bound"] == told["certificate"]["bound"]
    manifest = json.loads((path / "manifest.json").read_text())["holdout"]
    assert manifest["sizes"] == told["examples"]
    page = (path / "report.html").read_text()
    assert "allowed: 20 % of the held-out loss" in page
    assert "by the model's own error" in page.replace("&#39;", "'")
    assert "No budget was set" not in page
    rows = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
    assert sum("spent" in row for row in rows) == len(told["evaluations"]) - 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": "1.0"}, "line 8: Expected a budget of the loss or in a metric for a model without classes to be"),
        ({"holdout": None}, "line 7: Expected held-out examples to measure the budget on, but found no holdout"),
        ({"budget": None, "priority": "budget"}, "line 11: Expected priority beside a budget"),
    ],
)
def test_a_wrong_budget_is_refused_at_its_line(tmp_path, changes, words):
    with pytest.raises(ConfigError) as caught:
        load_request(write(tmp_path, **changes))
    assert words in str(caught.value)


def test_a_method_that_keeps_none_and_an_average_are_refused_at_their_lines(tmp_path):
    diffusers()
    for changes, words in (
        ({"method": "{name: rl, epochs: 1}"}, "line 5: Expected one descent whose surgery keeps a budget"),
        ({"ema_decay": "0.9"}, "line 12: Expected a budget that alone decides how far the run goes"),
    ):
        with pytest.raises(ConfigError) as caught:
            run_request(load_request(write(tmp_path, **changes)))
        assert words in str(caught.value)
        assert not (tmp_path / "run").exists()
