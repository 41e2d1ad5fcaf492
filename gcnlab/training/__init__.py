"""Training: settings, one loop, one checkpoint."""

from gcnlab.training.checkpoint import load_checkpoint, save_checkpoint
from gcnlab.training.config import PRESETS, DataConfig, ModelConfig, RunConfig
from gcnlab.training.execution import Execution
from gcnlab.training.lock import FolderTaken, is_taken, only_writer
from gcnlab.training.loop import TrainingDiverged, train
from gcnlab.training.optimization import TrainingConfig
from gcnlab.training.parallel import RunStopped
from gcnlab.training.pretrain import (
    PRETRAINING,
    ClassificationData,
    PretrainConfig,
    load_classifier,
    save_classifier,
)
from gcnlab.training.runs import TrainedRun, load_run
from gcnlab.training.shipping import ship
from gcnlab.training.stages import SCHEDULES, Schedule, Stage, run_schedule
from gcnlab.training.topk import TopK, evaluate_classifier

__all__ = [
    "PRESETS",
    "PRETRAINING",
    "SCHEDULES",
    "ClassificationData",
    "DataConfig",
    "Execution",
    "FolderTaken",
    "ModelConfig",
    "PretrainConfig",
    "RunConfig",
    "RunStopped",
    "Schedule",
    "Stage",
    "TopK",
    "TrainedRun",
    "TrainingConfig",
    "TrainingDiverged",
    "evaluate_classifier",
    "is_taken",
    "load_checkpoint",
    "load_classifier",
    "load_run",
    "only_writer",
    "run_schedule",
    "save_checkpoint",
    "save_classifier",
    "ship",
    "train",
]
