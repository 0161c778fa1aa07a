"""Shareable: whether an update gives on several ranks what it gives on one, or is refused before anything moves."""

from __future__ import annotations

from expunge.engine.half import Setting
from expunge.engine.normalisation import batch_norms
from expunge.engine.ranks import Sharded
from expunge.errors import ConfigError, ExpungeError, ModelError, SurgeryError
from expunge.masks import Mask
from expunge.surgery import Surgery

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
        refuse_rule(surgery, SurgeryError("a surgery that ranks can share", repr(surgery), ALONE))
        if mask is not None:
            refuse_rule(mask, ConfigError("a mask that ranks can share", repr(mask), ALONE))
        refuse_unequal_parts(setting)
        refuse_parts_of_weights(setting)
        refuse_left_out(setting)


def refuse_rule(rule: Surgery | Mask, error: ExpungeError) -> None:
    """Refuse a rule that is not distributed."""
    if not rule.distributed:
        raise error


def refuse_unequal_parts(setting: Setting) -> None:
    """Refuse losses that a rank's part of the examples does not add its share to."""
    for objective in setting.objectives:
        if objective.batchwise:
            found = f"{setting.ranks.size} ranks"
            raise ConfigError(f"whole batches for {type(objective).__name__}", found, ALONE)
    if setting.policy == "joint" or (setting.policy == "separate" and batch_norms(setting.predict.model)):
        found = f"'{setting.policy}', whose statistics would be those of a rank's own examples"
        raise ConfigError("normalisation 'frozen' on several ranks", found, "use normalisation='frozen'")


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
