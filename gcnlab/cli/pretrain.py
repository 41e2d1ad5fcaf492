"""gcnlab pretrain."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.cli.schedule import miniatures
from gcnlab.cli.train import write_log
from gcnlab.datasets.miniature import IMAGENET_CLASSES
from gcnlab.provenance import provenance, write_json
from gcnlab.training import (
    PRETRAINING,
    TopK,
    TrainedRun,
    evaluate_classifier,
    save_classifier,
    train,
)
from gcnlab.training.loop import mean_of_last

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

    def __call__(self) -> None:
        config = self.config
        if self.tiny:
            config = config.tiny()
            if config.data.dataset == "imagenet" and config.data.root is None:
                data = replace(config.data, root=miniatures(self.out))
                config = replace(config, data=data, num_classes=len(IMAGENET_CLASSES))
        validation = config.evaluation_set("val")  # found missing now rather than after days
        run = train(config, self.out, self.resume, self.device, num_workers=self.workers)
        save_classifier(run.model, self.out / "weights.safetensors")
        scores = evaluate_classifier(run.model, validation, num_workers=self.workers)
        write_log(run, self.out / "log.csv")
        write_json(result(run, scores), self.out / "result.json")
        from gcnlab.plots import plot_losses

        plot_losses({config.backbone: run.losses}).savefig(self.out / "loss.png", dpi=100)
        print(f"{config.backbone}: {scores.summary()}")


def result(run: TrainedRun, scores: TopK) -> dict:
    """What is written about a trained classifier: scores, settings, provenance."""
    config = run.config
    return {
        "what": f"classifier {config.backbone} on {config.data.dataset}",
        "scores": asdict(scores),
        "final_loss": mean_of_last(run.losses),
        "steps": len(run.losses),
        "settings": config.to_dict(),
        "provenance": provenance(
            seeds=[config.training.seed],
            dataset=config.data.dataset,
            split="val",
            device=next(run.model.parameters()).device,
            seconds=run.seconds,
        ),
    }
