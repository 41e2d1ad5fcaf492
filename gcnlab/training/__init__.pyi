from .checkpoint import load_checkpoint, save_checkpoint
from .config import PRESETS, DataConfig, ModelConfig, RunConfig
from .execution import Execution
from .lock import FolderTaken, is_taken, only_writer
from .loop import TrainingDiverged, train
from .optimization import TrainingConfig
from .parallel import RunStopped
from .pretrain import (
    PRETRAINING,
    ClassificationData,
    PretrainConfig,
    load_classifier,
    save_classifier,
)
from .runs import TrainedRun, load_run
from .shipping import ship
from .stages import SCHEDULES, Schedule, Stage, run_schedule
from .topk import TopK, evaluate_classifier

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
