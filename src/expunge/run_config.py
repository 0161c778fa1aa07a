"""``RunConfig``: how ``unlearn`` runs; none of it belongs to a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from expunge.type_checks import check_field_types


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run computes, and what it keeps and reports.

    Args:
        batch_norm: Whose statistics batch-norm layers use: ``frozen`` (default, which measured best), ``joint`` or
            ``separate``.
        gradient_accumulation_steps: Parts in which each batch is processed. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        channels_last: Hold the weights of convolutions with channels last during the run, which is faster on
            accelerators; the model that is handed back has them as they came. Default: on accelerators alone.
        compile: Pass batches through the model by ``torch.compile`` during the run. The first passes take the time of
            compiling, so it pays in long runs alone. The model that is handed back is not compiled. Default false.
        ema_decay: β of an exponential moving average of the weights, which is then the unlearned model. It starts from
            the model itself. Default: the weights of the last update.
        distributed: Share the examples of every update with the other processes of torch.distributed, each of which
            makes this same call; all end with the same model. Default false.
        log_gradients_every: Updates between two records of the gradients' cosine. Default 10.
        priority: What comes first where the budget cannot be kept at the requested forgetting: ``budget`` (default) or
            ``forgetting``.
        logits: Takes the model's output and returns logits, where the model does not return them itself.
        inplace: Change the model itself, which ends in evaluation mode without gradients. Default false: a copy.
        exclude: What earlier requests forgot, which is neither learned from nor held out: a class or a list of them, by
            number or name; examples; or ``"ledger"`` for what the ledger's entries of this chain forgot. Default:
            nothing, and retained or held-out examples that the ledger knows as forgotten are refused.
        request: ``title``, ``ticket`` and ``requester``, of which the ledger keeps keyed hashes. Default none.
        force: Answer a request again that the ledger shows as served. Default false.
        sanity_check: Refuse a budget for a model that knows the retained or held-out examples no better than chance, as
            with permuted labels, other scaling or an untrained head. Where false, or without a budget, a
            ``FitWarning`` says so and the run goes on; ``Result.fit`` has the figures. Default true.
        loggers: Where losses, evaluations and figures go, and nothing of the data: a name (``tensorboard``, ``wandb``,
            ``mlflow``, ``trackio``), a mapping of a name and settings, a ``Logger``, or several of these. Default none.
        checkpoints: A folder of the run's own, where its state is saved every minute, or a ``CheckpointManager`` with
            other settings. The same call continues from there, to the same bits. The state holds the original's
            weights: remove the folder once the result is saved. With ``distributed`` every process names the same
            folder and uses a folder of its own in it; a run continues with as many processes as it started with.
            Default: nothing is saved.
        progress: Show a progress bar in a terminal or a notebook; nothing is shown in a pipe. Default true.

    Raises:
        ConfigError: If a field holds a value of the wrong kind.

    Examples:
        >>> RunConfig(precision="bf16", ema_decay=0.99).as_record(seed=0)
        {'seed': 0, 'batch_norm': 'frozen', 'gradient_accumulation_steps': 1, 'precision': 'bf16', 'ema_decay': 0.99}
    """

    batch_norm: str = "frozen"
    gradient_accumulation_steps: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool | None = None
    compile: bool = False
    ema_decay: float | None = None
    distributed: bool = False
    log_gradients_every: int = 10
    priority: Literal["budget", "forgetting"] = "budget"
    logits: Callable[[Any], Any] | None = field(default=None, repr=False)
    inplace: bool = False
    exclude: Any = None
    request: Mapping[str, str] | None = None
    force: bool = False
    sanity_check: bool = True
    loggers: Any = None
    checkpoints: Path | str | Any = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Refuse values of the wrong kind."""
        check_field_types(self)

    def as_record(self, seed: int) -> dict[str, Any]:
        """Return what decides the numbers of a run, as plain values; optional parts at their default are absent."""
        record = {
            "seed": seed,
            "batch_norm": self.batch_norm,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "precision": self.precision,
            "ema_decay": self.ema_decay,
            "distributed": self.distributed or None,
            "channels_last": self.channels_last,
            "compile": self.compile or None,
        }
        return {name: value for name, value in record.items() if value is not None}
