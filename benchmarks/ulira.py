"""U-LiRA of several methods on digits and on Fashion-MNIST.

Run: python benchmarks/ulira.py digits --cache FOLDER
     python benchmarks/ulira.py fashion_mnist --data-dir DATA --cache FOLDER     (both resumable; one core, minutes)

One study for all methods of a data set: shadow models (digits 32, Fashion-MNIST 16), each trained on what no method
forgets and on a random half of the candidates, which it then unlearns. Beside the methods, the same attack on the
shadow models before they unlearn (what there is to find) and on as many models that no candidate was ever shown to (how
far chance goes). Learning rates: four trials a method on a model of another seed, criterion of ``tuning.py`` on
held-out images, no retrained model, no test image and no attack looked at. The record is written after each method, to
docs/results/ulira-digits.json or docs/results/ulira-fashion_mnist.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tuning import accuracies, badness

from expunge import unlearn
from expunge.api.audits.shadow_study import ShadowOutputs, ShadowStudy
from expunge.api.audits.ulira_result import ModelState, ULiRAResult
from expunge.batch import Examples, Split
from expunge.data import LabeledDataset, Subset
from expunge.errors import NotFiniteError
from expunge.evaluation import Ensemble, ForgettingQuality, MarginDivergence
from expunge.metrics import attack_auc, model_scores, summarize
from expunge.registry import find_component
from expunge.shadows import ShadowStore, ShadowTraining, hash_values, train_shadows
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.training import TrainSettings

RESULTS = Path(__file__).parents[1] / "docs" / "results"
WIDTH = 8
TUNING_SEED = 1000
USUAL, TRAINED, DISTILLED = (0.001, 0.003, 0.01, 0.03), (0.01, 0.03, 0.1, 0.3), (0.0005, 0.002, 0.008, 0.03)
METHODS = {
    "fine_tune": ("FT", TRAINED),
    "random_labels": ("RL", USUAL),
    "salun": ("SalUn", USUAL),
    "eupmu": ("EUPMU", USUAL),
    "lur": ("LUR", USUAL),
    "counterfactual": ("Counterfactual (auto's)", USUAL),
    "l1_sparse": ("l1-sparse", TRAINED),
    "scrub": ("SCRUB", DISTILLED),
}
"""Method → its name in tables and the learning rates that are tried."""


@dataclass(frozen=True)
class Setting:
    """What is studied on one data set.

    Args:
        title: Of the data.
        models: How many shadow models.
        train: Images drawn for training, candidates among them.
        candidates: How many of them each shadow model is trained on or not.
        training: Of the shadow models.
        common: Settings that all methods share.
        options: Of the reader.
        held: Images held out, for the methods that want some and for tuning.
        test: Images tested on, at most.
        pooled: Pixels a side that the network takes the mean of first.
    """

    title: str
    models: int
    train: int
    candidates: int
    training: dict[str, Any]
    common: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    held: int = 300
    test: int = 500
    pooled: int = 1


SETTINGS = {
    "digits": Setting(
        "scikit-learn's digits",
        models=32,
        train=300,
        candidates=60,
        training={"epochs": 40, "batch": 16, "rate": 0.05},
        common={"epochs": 10, "batch": 64, "forget_batch": 32},
        options={"test_share": 0.5},
    ),
    "fashion_mnist": Setting(
        "Fashion-MNIST",
        models=16,
        train=600,
        candidates=120,
        training={"epochs": 60, "batch": 16, "rate": 0.1, "schedule": "one_cycle"},
        common={"epochs": 5, "batch": 64, "forget_batch": 32},
        pooled=2,
    ),
}


def network(pooled: int) -> nn.Module:
    """Return the network of all models, which sees the means of squares of so many pixels a side."""
    small = small_cnn(10, 1, width=WIDTH)
    return small if pooled == 1 else nn.Sequential(nn.AvgPool2d(pooled), small)


def study_of(name: str, cache: Path, data_dir: Path | None, seed: int) -> tuple[ShadowStudy, Examples]:
    """Return the shadow models of a data set and the held-out images, none of which is a test image."""
    setting = SETTINGS[name]
    source: LabeledDataset = find_component("readers", name)(data_dir, **setting.options)
    order = torch.randperm(len(source.train), generator=torch.Generator().manual_seed(seed))
    drawn, held = order[: setting.train], order[setting.train : setting.train + setting.held]
    holdout, test = Subset(source.train, held), Subset(source.test, torch.arange(min(setting.test, len(source.test))))
    make = partial(network, setting.pooled)
    training = ShadowTraining(
        make, Subset(source.train, drawn), TrainSettings(**setting.training), store=ShadowStore(cache)
    )
    return ShadowStudy(training, torch.arange(setting.candidates), test, holdout, setting.models, seed), holdout


def trial(plan: ShadowStudy, options: dict[str, Any], forgotten: Split, control: Examples) -> dict[str, float] | None:
    """Return the accuracies of one tuning run; None if it diverged."""
    (model,) = train_shadows(plan.training, plan.shadows[:1])
    given = {"forget": forgotten.forget, "retain": forgotten.retain, "holdout": control, "seed": TUNING_SEED}
    try:
        return accuracies(unlearn(model, **given, **options).model, forgotten, control, 0)
    except NotFiniteError:
        return None


def tuned(name: str, cache: Path, data_dir: Path | None) -> dict[str, Any]:
    """Return the record of tuning: every trial, and the rate that each method is frozen at."""
    plan, control = study_of(name, cache, data_dir, TUNING_SEED)
    sides = plan.candidates[plan.membership[0]], plan.retained
    split = Split(*(Subset(plan.training.examples, side) for side in sides), 10, control)
    (model,) = train_shadows(plan.training, plan.shadows[:1])
    before = accuracies(model, split, control, 0)
    record: dict[str, Any] = {"seed": TUNING_SEED, "criterion": badness.__doc__, "chosen": {}, "trials": []}
    for method, (_, rates) in METHODS.items():
        ranked = []
        for rate in rates:
            options = {"method": method, **SETTINGS[name].common, "rate": rate}
            kept = cache / "tuning" / f"{hash_values(name, asdict(SETTINGS[name]), options)}.json"
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(trial(plan, options, split, control)))
            found = json.loads(kept.read_text())
            record["trials"].append({"method": method, "rate": rate, **(found or {"diverged": True})})
            if found is not None:
                ranked.append((badness("random", found, before), rate))
        record["chosen"][method] = min(ranked)[1]
    return record


def row(found: ULiRAResult, state: ModelState, key: str, label: str) -> dict[str, Any]:
    """Return the figures of the models of a state, those of attacks that know less beside those of this one."""
    scores = model_scores(found.outputs[state].candidates.numpy(), found.targets.numpy())
    inside = found.membership.numpy()
    plain = [attack_auc(of[kind], of[~kind]) for of, kind in zip(scores, inside, strict=True)]
    shift = np.array([of[kind].mean() - of[~kind].mean() for of, kind in zip(scores.T, inside.T, strict=True)])
    return {
        "key": key,
        "label": label,
        **found.summarize_state(state),
        "one_threshold_auc": summarize(plain).as_dict(),
        "shift": {"mean": float(shift.mean()), "higher": float(np.mean(shift > 0))},
    }


def beside_retrained(found: ULiRAResult, state: ModelState) -> dict[str, Any]:
    """Return what metrics of many models say of unlearned models beside retrained ones, candidate by candidate."""
    targets, answers = found.targets.numpy(), found.outputs[state]
    told = (float(np.mean(answers.retain_accuracy)), float(np.mean([one or 0.0 for one in answers.test_accuracy])))
    ours = Ensemble(model_scores(found.select_member_logits(state).numpy(), targets), *told)
    reference = found.outputs["retrained"]
    theirs = Ensemble(
        model_scores(reference.candidates.numpy(), targets),
        float(np.mean(reference.retain_accuracy)),
        float(np.mean([one or 0.0 for one in reference.test_accuracy])),
    )
    metrics = {"klom": MarginDivergence(), "forgetting_quality": ForgettingQuality()}
    return {name: asdict(metric(ours, theirs)) for name, metric in metrics.items()}


def main() -> None:
    """Make what is not there and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=sorted(SETTINGS))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cache, began = asked.cache / asked.data, time.perf_counter()

    def report(what: str, ready: int, every: int) -> None:
        print(f"{time.perf_counter() - began:7.1f} s  {what} {ready}/{every}", flush=True)

    plan, _ = study_of(asked.data, cache, asked.data_dir, 0)
    states: dict[ModelState, ShadowOutputs] = {
        "original": plan.collect_shadow_outputs(report),
        "retrained": plan.collect_reference_outputs(report),
    }
    tuning = tuned(asked.data, cache, asked.data_dir)
    found = {None: ULiRAResult(plan.membership, plan.targets, states, plan.test.targets)}
    for method, (label, _) in METHODS.items():
        options = {"method": method, **SETTINGS[asked.data].common, "rate": tuning["chosen"][method]}
        answers = plan.collect_unlearned_outputs(options, on_done=lambda _, *counts, name=label: report(name, *counts))
        found[method] = ULiRAResult(plan.membership, plan.targets, {**states, "unlearned": answers}, plan.test.targets)
        write(asked.data, record_of(asked.data, found, tuning))


def record_of(name: str, found: dict[str | None, ULiRAResult], tuning: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the methods that are there; of those that are not yet, their names."""
    plain, rows = found[None], []
    rows.append(row(plain, "original", "original", "Original"))
    for method, (label, _) in METHODS.items():
        if method in found:
            rows.append(row(found[method], "unlearned", method, label))
    rows.append(row(plain, "retrained", "retrained", "Retrained"))
    return {
        "study": "ulira",
        "command": f"python benchmarks/ulira.py {name}",
        "data": SETTINGS[name].title,
        "setting": asdict(SETTINGS[name]),
        "network": {"name": "small_cnn", "width": WIDTH},
        "models": SETTINGS[name].models,
        "rows": rows,
        "missing": [label for method, (label, _) in METHODS.items() if method not in found],
        "beside_retrained": {
            method or "original": beside_retrained(one, "unlearned" if method else "original")
            for method, one in found.items()
        },
        "tuning": tuning,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write(name: str, record: dict[str, Any]) -> None:
    """Write the record."""
    (RESULTS / f"ulira-{name}.json").write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
