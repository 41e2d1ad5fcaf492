"""gcnlab submit."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnlab.evaluation.settings import CRF, Inference


@dataclass(frozen=True)
class Submit:
    """Predict a split, and pack the predictions for the evaluation server of VOC or Cityscapes.

        gcnlab submit runs/voc --out submission
        gcnlab submit runs/cityscapes --split val --out submission --inference.tile 1024 1024 --inference.overlap 0.6

    VOC: palette PNGs in results/VOC2012/Segmentation/comp6_test_cls and a .tgz. Cityscapes: PNGs of
    label ids and a .zip. The archive is read back and compared with the predictions.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run's folder, a checkpoint, or the name of a pretrained network."""
    out: Path
    """New or empty folder for the files and their archive."""
    split: Literal["train", "val", "test"] = "test"
    """Split to predict; the servers take test."""
    competition: Literal["comp5", "comp6"] = "comp6"
    """For VOC: comp5 if trained on VOC's segmentations only, comp6 if trained on other images,
    too."""
    inference: Inference = field(default_factory=Inference)
    """Flips, scales and tiles with which the network is run."""
    crf: CRF | None = None
    """Refine the class probabilities with a dense CRF (extra `crf`)."""
    root: Path | None = None
    """Folder of the data sets; default: where the run found them."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""

    def __call__(self) -> None:
        from gcnlab.cli.evaluate import open_split
        from gcnlab.evaluation.submission import submission_format, submit
        from gcnlab.training import load_run

        run = load_run(self.run, self.device)
        submission_format(run.labels)  # raises an error before the data set is read
        dataset = open_split(run, self.split, self.root)
        archive = submit(
            run.predictor(self.inference, self.crf),
            dataset,
            self.out,
            self.split,
            self.competition,
        )
        print(f"{archive}: {len(dataset)} predictions, read back")
