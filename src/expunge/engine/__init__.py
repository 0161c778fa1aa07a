"""The engine: the only place that knows devices, precision, micro-batches and normalization layers."""

from expunge.batch import device_of
from expunge.engine.actions import CONTINUE, LoopAction
from expunge.engine.batch_norm import BATCH_NORM_MODES, BatchNormMode, set_training_modes, validate_batch_norm_mode
from expunge.engine.checkpoints import CODE_KEY, CheckpointManager, SaveInterval, Stateful
from expunge.engine.control_group import ControlGroup, broadcast_from_rank0, broadcast_weights
from expunge.engine.cost import ResourceMeter, ResourceUsage
from expunge.engine.diagnostics import HISTORY_FIELDS, UpdateDiagnostics
from expunge.engine.distributed_checkpoints import DistributedCheckpointManager
from expunge.engine.ema import ModelEMA
from expunge.engine.optimizers import check_optimizer_name
from expunge.engine.precision import Precision, PrecisionName, make_precision
from expunge.engine.randomness import combine_seeds, seeded_rng
from expunge.engine.run_options import EvalWeights, HistoryRow, RunOptions
from expunge.engine.runner import run_recipe
from expunge.engine.side_batch import StepConfig
from expunge.engine.signals import PROCESS_SIGNALS, Interrupted, SignalHandler
from expunge.engine.stages import (
    EditStage,
    Measurements,
    MethodRecipe,
    OptimizerConfig,
    OptimizerName,
    Pairing,
    Schedule,
    SelectStage,
    Stage,
    TrainStage,
)
from expunge.engine.step import EngineStep
from expunge.engine.stepper import Stepper, UpdateResult, as_batch, trainable_parameters
from expunge.engine.train_stage import StageRunner

__all__ = [
    "BATCH_NORM_MODES",
    "CODE_KEY",
    "CONTINUE",
    "HISTORY_FIELDS",
    "PROCESS_SIGNALS",
    "BatchNormMode",
    "CheckpointManager",
    "ControlGroup",
    "DistributedCheckpointManager",
    "EditStage",
    "EngineStep",
    "EvalWeights",
    "HistoryRow",
    "Interrupted",
    "LoopAction",
    "Measurements",
    "MethodRecipe",
    "ModelEMA",
    "OptimizerConfig",
    "OptimizerName",
    "Pairing",
    "Precision",
    "PrecisionName",
    "ResourceMeter",
    "ResourceUsage",
    "RunOptions",
    "SaveInterval",
    "Schedule",
    "SelectStage",
    "SignalHandler",
    "Stage",
    "StageRunner",
    "Stateful",
    "StepConfig",
    "Stepper",
    "TrainStage",
    "UpdateDiagnostics",
    "UpdateResult",
    "as_batch",
    "broadcast_from_rank0",
    "broadcast_weights",
    "check_optimizer_name",
    "combine_seeds",
    "device_of",
    "make_precision",
    "run_recipe",
    "seeded_rng",
    "set_training_modes",
    "trainable_parameters",
    "validate_batch_norm_mode",
]
