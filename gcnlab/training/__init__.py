"""Training: settings, one loop, one checkpoint."""

from gcnlab.training.checkpoint import load_checkpoint, save_checkpoint
from gcnlab.training.config import PRESETS, DataConfig, ModelConfig, RunConfig
from gcnlab.training.loop import TrainedRun, TrainingDiverged, load_run, train
from gcnlab.training.optimization import TrainingConfig
from gcnlab.training.shipped import ship

__all__ = [
    "PRESETS",
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "TrainedRun",
    "TrainingConfig",
    "TrainingDiverged",
    "load_checkpoint",
    "load_run",
    "save_checkpoint",
    "ship",
    "train",
]
