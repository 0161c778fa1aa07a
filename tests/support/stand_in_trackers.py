"""Stand-ins for the libraries of trackers: each writes down all that it is told, in one form."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any


class Told:
    """What one service was told."""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self.points: dict[str, list[tuple[int, float]]] = {}
        self.figures: dict[str, float] = {}
        self.failed: bool | None = None
        self.calls: list[Any] = []

    def take(self, values: dict[str, float], step: int | None) -> None:
        """Note values, those of the end apart."""
        for name, value in values.items():
            if name.startswith("final/"):
                self.figures[name.removeprefix("final/")] = value
            else:
                self.points.setdefault(name, []).append((step, value))


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


def tensorboard(told: Told) -> dict[str, ModuleType]:
    class SummaryWriter:
        def __init__(self, folder):
            told.calls.append(folder)

        def add_text(self, name, text):
            cells = [line.strip("|").split("|") for line in text.splitlines()[2:]]
            told.settings = {key.strip(): value.strip() for key, value in cells}

        def add_scalar(self, name, value, step=None):
            told.take({name: value}, step)

        def close(self):
            told.failed = bool(told.figures.pop("failed"))

    return {
        "tensorboard": module("tensorboard"),
        "torch.utils.tensorboard": module("torch.utils.tensorboard", SummaryWriter=SummaryWriter),
    }


def wandb(told: Told) -> dict[str, ModuleType]:
    def finish(exit_code):
        told.failed = bool(exit_code)

    def init(*, config, **rest):
        told.settings = {name: str(value) for name, value in config.items()}
        told.calls.append(rest)
        return SimpleNamespace(
            log=lambda values, step: told.take(values, step),
            summary=SimpleNamespace(update=told.figures.update),
            finish=finish,
        )

    return {"wandb": module("wandb", init=init)}


def trackio(told: Told) -> dict[str, ModuleType]:
    def init(*, config, **rest):
        told.settings = {name: str(value) for name, value in config.items()}
        told.calls.append(rest)

    def finish():
        told.failed = bool(told.figures.pop("failed"))

    return {"trackio": module("trackio", init=init, log=lambda values, step: told.take(values, step), finish=finish)}


def mlflow(told: Told) -> dict[str, ModuleType]:
    class MlflowClient:
        def __init__(self, tracking_uri=None):
            told.calls.append(tracking_uri)

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            told.calls.append(name)
            return "7"

        def create_run(self, experiment, run_name=None):
            told.calls.append((experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="a"))

        def log_batch(self, run, metrics=(), params=()):
            told.settings |= {one.key: one.value for one in params}
            for one in metrics:
                told.take({one.key: one.value}, one.step)

        def set_terminated(self, run, status):
            told.failed = {"FINISHED": False, "FAILED": True}[status]

    entities = SimpleNamespace(
        Metric=lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step),
        Param=lambda key, value: SimpleNamespace(key=key, value=value),
    )
    return {"mlflow": module("mlflow", MlflowClient=MlflowClient, entities=entities)}


STAND_INS = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow, "trackio": trackio}
