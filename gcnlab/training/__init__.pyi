from .checkpoint import FolderTaken, load_checkpoint
from .export import export_run
from .loop import TrainingDiverged, train
from .optimization import learning_rate, segmentation_loss
from .pretraining import PRETRAINING, ClassificationData, PretrainConfig
from .runs import TrainedRun, finish, load, load_classifier, load_run, save_classifier
from .schedules import SCHEDULES, Schedule, Stage
from .settings import PRESETS, DataConfig, Execution, ModelConfig, RunConfig, TrainingConfig
from .stages import plan_stages, run_schedule
from .tasks import Classification, Segmentation, Task, open_dataset

__all__ = [
    "PRESETS",
    "PRETRAINING",
    "SCHEDULES",
    "Classification",
    "ClassificationData",
    "DataConfig",
    "Execution",
    "FolderTaken",
    "ModelConfig",
    "PretrainConfig",
    "RunConfig",
    "Schedule",
    "Segmentation",
    "Stage",
    "Task",
    "TrainedRun",
    "TrainingConfig",
    "TrainingDiverged",
    "export_run",
    "finish",
    "learning_rate",
    "load",
    "load_checkpoint",
    "load_classifier",
    "load_run",
    "open_dataset",
    "plan_stages",
    "run_schedule",
    "save_classifier",
    "segmentation_loss",
    "train",
]
