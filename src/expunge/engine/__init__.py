"""The engine: the only place that knows devices, precision, micro-batches and normalisation layers."""

from expunge.engine.average import Average
from expunge.engine.conditions import Conditions, Judged, Row
from expunge.engine.cost import Cost, Meter, place_of
from expunge.engine.descend import Descent
from expunge.engine.execute import execute
from expunge.engine.guidance import STEADY, Guidance
from expunge.engine.half import Setting
from expunge.engine.normalisation import POLICIES, Policy, checked_policy, prepare_modes
from expunge.engine.optimisers import check_optimiser
from expunge.engine.precision import Format, Precision, precision_for
from expunge.engine.processes import Council, agreed, take_over
from expunge.engine.randomness import mixed_seed, replayed
from expunge.engine.savepoints import CODE, Every, Savepoints, Stateful
from expunge.engine.shared_savepoints import SharedSavepoints
from expunge.engine.stages import (
    Descend,
    Edit,
    Mode,
    Optimiser,
    OptimiserName,
    Reading,
    Recipe,
    Schedule,
    Select,
    Stage,
)
from expunge.engine.step import EngineStep
from expunge.engine.stepper import Move, Stepper, as_batch, trainable
from expunge.engine.stopping import PROCESS, Stopped, Stopping
from expunge.engine.telemetry import FIELDS, Observation

__all__ = [
    "CODE",
    "FIELDS",
    "POLICIES",
    "PROCESS",
    "STEADY",
    "Average",
    "Conditions",
    "Cost",
    "Council",
    "Descend",
    "Descent",
    "Edit",
    "EngineStep",
    "Every",
    "Format",
    "Guidance",
    "Judged",
    "Meter",
    "Mode",
    "Move",
    "Observation",
    "Optimiser",
    "OptimiserName",
    "Policy",
    "Precision",
    "Reading",
    "Recipe",
    "Row",
    "Savepoints",
    "Schedule",
    "Select",
    "Setting",
    "SharedSavepoints",
    "Stage",
    "Stateful",
    "Stepper",
    "Stopped",
    "Stopping",
    "agreed",
    "as_batch",
    "check_optimiser",
    "checked_policy",
    "execute",
    "mixed_seed",
    "place_of",
    "precision_for",
    "prepare_modes",
    "replayed",
    "take_over",
    "trainable",
]
