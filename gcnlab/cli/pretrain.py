"""gcnlab pretrain."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from torch.utils.data import Dataset

from gcnlab.cli.results import result, write_run
from gcnlab.cli.schedule import miniatures
from gcnlab.datasets.miniature import IMAGENET_CLASSES
from gcnlab.training import (
    PRETRAINING,
    Execution,
    TrainedRun,
    evaluate_classifier,
    save_classifier,
    train,
)
from gcnlab.training.shipped import WEIGHTS

_Config = tyro.extras.subcommand_type_from_defaults(
    {name: config for name, (_, config) in PRETRAINING.items()},
    {name: text for name, (text, _) in PRETRAINING.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Pretrain:
    """Train a backbone as a classifier and score it: top-1 and top-5, as in Table 6.

        gcnlab pretrain resnet50_gcn --out runs/r50gcn --data.root /data
        gcnlab schedule ablation --out runs/voc --model.backbone resnet50_gcn \\
            --model.weights runs/r50gcn/weights.safetensors

    The folder gets checkpoint.pt (resumed from when the same command is given again), and at the end
    weights.safetensors (for model.weights), result.json, log.csv and loss.png.
    """

    config: Annotated[_Config, tyro.conf.arg(name="")]
    """Classifier to train."""
    out: Path
    """Folder of the run."""
    tiny: bool = False
    """Images of 32 pixels and two epochs, to try the way; of ImageNet, without --data.root, a miniature
    that is drawn into OUT/miniature."""
    resume: bool = True
    """Go on from the folder's checkpoint; with --no-resume start anew and replace it."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Processes that load images; 0 loads in the main process."""
    execution: Execution = field(default_factory=Execution)
    """How the run is executed; the weights are the same but for rounding."""

    def __call__(self) -> None:
        config = self.config
        if self.tiny:
            config = config.tiny()
            if config.data.dataset == "imagenet" and config.data.root is None:
                data = replace(config.data, root=miniatures(self.out))
                config = replace(config, data=data, num_classes=len(IMAGENET_CLASSES))
        validation = config.evaluation_set("val")  # found missing now rather than after days
        run = train(
            config,
            self.out,
            self.resume,
            self.device,
            num_workers=self.workers,
            execution=self.execution,
        )
        if int(os.environ.get("RANK", "0")) == 0:  # of torchrun's processes the first writes
            finish_classifier(run, self.out, validation, self.workers)


def finish_classifier(run: TrainedRun, out: Path, validation: Dataset, workers: int = 0) -> None:
    """Score a trained classifier; write its weights and what the folder of a run holds, and print."""
    save_classifier(run.model, out / WEIGHTS)
    scores = evaluate_classifier(run.model, validation, num_workers=workers)
    write_run(run, result(run, scores, "val"), run.config.backbone, out)
    print(f"{run.config.backbone}: {scores.summary()}")
