"""Shareable: whether an update gives on several ranks what it gives on one, or is refused before anything moves."""

from __future__ import annotations

from torch import nn

from expunge.engine.batch_norm import batch_norm_layers
from expunge.engine.data_parallel import FSDPContext
from expunge.engine.side_batch import StepConfig
from expunge.engine.stages import TrainStage
from expunge.errors import ConfigError, ModelError, SurgeryError
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import Pair
from expunge.surgery import Surgery
from expunge.surgery.direction import is_sharded

SINGLE_PROCESS_HINT = "use one process"


def check_distributed(config: StepConfig, surgery: Surgery, mask: Mask | None) -> None:
    """Refuse what would differ from the result of one process."""
    if config.ranks.size > 1:
        check_distributed_rules(surgery, mask)
        check_distributed_losses(config.objectives, config.batch_norm, config.predict.model)
        check_whole_weights(config)
        check_all_optimized(config)


def check_stage_distributed(stage: TrainStage, model: nn.Module, batch_norm: str) -> None:
    """Refuse a stage that processes cannot share, before any stage has begun."""
    check_distributed_rules(stage.surgery, stage.mask)
    check_distributed_losses(stage.objectives, batch_norm, model)


def check_unsharded(model: nn.Module) -> None:
    """Refuse to share a run of a model of whose weights this rank has parts only."""
    if any(is_sharded(weight) for weight in model.parameters()):
        actual = "one under fully_shard, whose parts no rank could copy, measure or save"
        raise ModelError("a model that every rank has whole", actual, "share it unsharded, or use a Stepper in a loop")


def check_distributed_rules(surgery: Surgery, mask: Mask | None) -> None:
    if not surgery.distributed:
        raise SurgeryError("a surgery that ranks can share", repr(surgery), SINGLE_PROCESS_HINT)
    if mask is not None and not mask.distributed:
        raise ConfigError("a mask that ranks can share", repr(mask), SINGLE_PROCESS_HINT)


def check_distributed_losses(objectives: Pair[Objective], batch_norm: str, model: nn.Module) -> None:
    """Refuse losses that a rank's part of the examples does not add its share to."""
    for objective in objectives:
        if objective.couples_examples:
            raise ConfigError(f"whole batches for {type(objective).__name__}", "several ranks", SINGLE_PROCESS_HINT)
    if batch_norm == "joint" or (batch_norm == "separate" and batch_norm_layers(model)):
        actual = f"'{batch_norm}', whose statistics would be those of a rank's own examples"
        raise ConfigError("batch_norm 'frozen' on several ranks", actual, "use batch_norm='frozen' or one process")


def check_whole_weights(config: StepConfig) -> None:
    """Refuse losses that read weights of which a rank has a part only."""
    for objective in config.objectives:
        if objective.reads_weights and isinstance(config.ranks, FSDPContext):
            actual = f"{type(objective).__name__}, which reads them, and a part of each on every rank"
            raise ConfigError("objectives that need no weights", actual, "use DistributedDataParallel")


def check_all_optimized(config: StepConfig) -> None:
    """Refuse an optimizer that holds a part of the weights only."""
    optimized = {id(weight) for weight in config.parameters}
    left_out = sum(id(weight) not in optimized for weight in config.predict.model.parameters() if weight.requires_grad)
    if left_out:
        hint = "give it all of them, or set requires_grad=False before the model is wrapped"
        raise ModelError("an optimizer of all weights that require a gradient", f"{left_out} left out", hint)
