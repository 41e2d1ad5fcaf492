"""gcnlab submit."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnlab.cli.evaluate import open_split
from gcnlab.evaluation import CRF, Inference
from gcnlab.evaluation.submission import submission_format, submit
from gcnlab.training import load_run


@dataclass(frozen=True)
class Submit:
    """Predict a split and pack the files as the evaluation server of VOC or Cityscapes takes them.

        gcnlab submit runs/voc --out submission
        gcnlab submit runs/cityscapes --split val --out submission --inference.tile 1024 1024 --inference.overlap 0.6

    VOC: palette PNGs in results/VOC2012/Segmentation/comp6_test_cls and a .tgz. Cityscapes: PNGs of label ids and
    a .zip. The archive is read back and compared before its path is printed.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or a checkpoint."""
    out: Path
    """New or empty folder for the files and their archive."""
    split: Literal["train", "val", "test"] = "test"
    """What to predict; the servers take test."""
    competition: Literal["comp5", "comp6"] = "comp6"
    """Of VOC: comp5 if trained on VOC's segmentations alone, comp6 if on other images too."""
    inference: Inference = field(default_factory=Inference)
    """Flip, scales, tiles."""
    crf: CRF | None = None
    """Refine the class probabilities with a dense CRF (extra `crf`)."""
    root: Path | None = None
    """Folder of the data set, if it is not where the run found it."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        run = load_run(self.run, self.device)
        submission_format(run.labels)  # before anything is read
        dataset = open_split(run, self.split, self.root)
        archive = submit(
            run.model,
            dataset,
            self.out,
            self.split,
            self.competition,
            self.inference,
            self.crf,
            run.normalization,
        )
        print(f"{archive}: {len(dataset)} predictions, read back")
