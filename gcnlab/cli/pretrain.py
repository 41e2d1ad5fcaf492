"""gcnlab pretrain."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.training.pretraining import PRETRAINING
from gcnlab.training.settings import Execution

_Config = tyro.extras.subcommand_type_from_defaults(
    {name: config for name, (_, config) in PRETRAINING.items()},
    {name: text for name, (text, _) in PRETRAINING.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Pretrain:
    """Train a backbone as a classifier and score it: top-1 and top-5 accuracy, as in Table 6.

        gcnlab pretrain resnet50_gcn --out runs/r50gcn --data.root /data
        gcnlab schedule ablation --out runs/voc --model.backbone resnet50_gcn \\
            --model.weights runs/r50gcn
        torchrun --nproc-per-node 8 --no-python \\
            gcnlab pretrain resnet50_gcn --out runs/r50gcn --workers 8

    The folder gets checkpoint.pt (the same command again resumes from it), and at the end
    weights.safetensors (for model.weights), result.json, log.csv and loss.png.
    """

    config: Annotated[_Config, tyro.conf.arg(name="")]
    """Classifier to train."""
    out: Path
    """Folder of the run."""
    tiny: bool = False
    """Smoke test: images of 32 pixels and two epochs; for ImageNet without --data.root, on a
    miniature that is drawn into OUT/miniature."""
    resume: bool = True
    """Resume from the folder's checkpoint. With --no-resume, train from scratch and replace it."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Data-loading workers; 0 loads in the main process."""
    execution: Execution = field(default_factory=Execution)
    """How the run is executed; apart from rounding, the weights do not depend on it."""

    def __call__(self) -> None:
        from gcnlab.distributed import is_primary
        from gcnlab.training import Classification, finish, train

        config = self._config()
        Classification(config).evaluation_set("val")  # so that missing data are found now
        run = train(
            config,
            self.out,
            self.resume,
            self.device,
            num_workers=self.workers,
            execution=self.execution,
        )
        scores = finish(run, self.out, self.workers)
        if is_primary():
            print(f"{config.backbone}: {scores.summary()}")

    def _config(self):
        if not self.tiny:
            return self.config
        config = self.config.tiny()
        if config.data.dataset == "imagenet" and config.data.root is None:
            from gcnlab.cli.schedule import miniatures
            from gcnlab.datasets.miniature import IMAGENET_CLASSES

            data = replace(config.data, root=miniatures(self.out))
            config = replace(config, data=data, num_classes=len(IMAGENET_CLASSES))
        return config
