"""MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from expunge.loggers.logger import Logger, PlainValue
from expunge.optional import import_optional

MAX_PARAMS_PER_CALL = 100
"""Settings in one call, which the service bounds."""


class MLflow(Logger):
    """Send the course to an MLflow server or store; no tag names the user, the script or its repository.

    The client is used in place of ``mlflow.start_run``, which would note these, and would end a run of the caller's.

    Args:
        experiment: Name of the experiment. Default ``expunge``.
        run: Name of the run. Default: the service's choice.
        uri: Of the server or store. Default: the library's, or ``MLFLOW_TRACKING_URI``.

    Raises:
        MissingExtraError: If mlflow is not installed.
    """

    name: ClassVar[str] = "mlflow"

    def __init__(self, experiment: str = "expunge", run: str | None = None, uri: str | None = None) -> None:
        self.experiment, self.run_name, self.uri = experiment, run, uri
        self.package = import_optional("mlflow", "the logger of that name", "mlflow")
        self.client: Any = None
        self.id = ""

    def start(self, settings: Mapping[str, PlainValue]) -> None:
        """Begin a run."""
        self.client = self.package.MlflowClient(tracking_uri=self.uri)
        experiment = self.client.get_experiment_by_name(self.experiment)
        experiment_id = (
            self.client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
        )
        self.id = self.client.create_run(experiment_id, run_name=self.run_name).info.run_id
        params = [self.package.entities.Param(name, str(value)) for name, value in settings.items()]
        for first in range(0, len(params), MAX_PARAMS_PER_CALL):
            self.client.log_batch(self.id, params=params[first : first + MAX_PARAMS_PER_CALL])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send a point of each curve."""
        now, metric = int(1000 * time.time()), self.package.entities.Metric
        self.client.log_batch(self.id, metrics=[metric(name, value, now, step) for name, value in values.items()])

    def finish(self, figures: Mapping[str, float], *, failed: bool) -> None:
        """Send the figures and end the run."""
        self.log(0, {f"final/{name}": value for name, value in figures.items()})
        self.client.set_terminated(self.id, "FAILED" if failed else "FINISHED")
