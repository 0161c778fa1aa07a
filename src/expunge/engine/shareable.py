"""Shareable: whether an update gives on several ranks what it gives on one, or is refused before anything moves."""

from __future__ import annotations

from torch import nn

from expunge.engine.half import Setting
from expunge.engine.normalisation import batch_norms
from expunge.engine.ranks import Sharded
from expunge.engine.stages import Descend
from expunge.errors import ConfigError, ModelError, SurgeryError
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import Pair
from expunge.surgery import Surgery
from expunge.surgery.direction import is_sharded

ALONE = "use one process"


def refuse_undistributed(setting: Setting, surgery: Surgery, mask: Mask | None) -> None:
    """Refuse what would differ from the result of one process.

    Raises:
        SurgeryError: If the surgery says of itself that it cannot be distributed.
        ConfigError: If the mask says so, an objective weighs the examples of a batch against one another, or layers
            would normalise by the statistics of one rank's examples.
        ModelError: If the optimiser leaves weights out that require a gradient: the wrapper waits for theirs.
    """
    if setting.ranks.size > 1:
        refuse_rules(surgery, mask)
        refuse_unequal_parts(setting.objectives, setting.policy, setting.predict.model)
        refuse_parts_of_weights(setting)
        refuse_left_out(setting)


def refuse_unshareable(stage: Descend, model: nn.Module, policy: str) -> None:
    """Refuse a stage that processes cannot share, before any stage has begun.

    Raises:
        ExpungeError: As ``refuse_undistributed``.
    """
    refuse_rules(stage.surgery, stage.mask)
    refuse_unequal_parts(stage.objectives, policy, model)


def refuse_sharded(model: nn.Module) -> None:
    """Refuse to share a run of a model of whose weights this rank has parts only.

    Raises:
        ModelError: If it has.
    """
    if any(is_sharded(weight) for weight in model.parameters()):
        found = "one under fully_shard, whose parts no rank could copy, measure or save"
        raise ModelError("a model that every rank has whole", found, "share it unsharded, or use a Stepper in a loop")


def refuse_rules(surgery: Surgery, mask: Mask | None) -> None:
    """Refuse rules that are not distributed."""
    if not surgery.distributed:
        raise SurgeryError("a surgery that ranks can share", repr(surgery), ALONE)
    if mask is not None and not mask.distributed:
        raise ConfigError("a mask that ranks can share", repr(mask), ALONE)


def refuse_unequal_parts(objectives: Pair[Objective], policy: str, model: nn.Module) -> None:
    """Refuse losses that a rank's part of the examples does not add its share to."""
    for objective in objectives:
        if objective.batchwise:
            raise ConfigError(f"whole batches for {type(objective).__name__}", "several ranks", ALONE)
    if policy == "joint" or (policy == "separate" and batch_norms(model)):
        found = f"'{policy}', whose statistics would be those of a rank's own examples"
        raise ConfigError("normalisation 'frozen' on several ranks", found, "use normalisation='frozen' or one process")


def refuse_parts_of_weights(setting: Setting) -> None:
    """Refuse losses that read weights of which a rank has a part only."""
    for objective in setting.objectives:
        if objective.reads_weights and isinstance(setting.ranks, Sharded):
            found = f"{type(objective).__name__}, which reads them, and a part of each on every rank"
            raise ConfigError("objectives that need no weights", found, "use DistributedDataParallel")


def refuse_left_out(setting: Setting) -> None:
    """Refuse an optimiser that holds a part of the weights only."""
    held = {id(weight) for weight in setting.parameters}
    left_out = sum(id(weight) not in held for weight in setting.predict.model.parameters() if weight.requires_grad)
    if left_out:
        cure = "give it all of them, or set requires_grad=False before the model is wrapped"
        raise ModelError("an optimiser of all weights that require a gradient", f"{left_out} left out", cure)
