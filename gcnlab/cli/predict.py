"""gcnlab predict."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.evaluation.settings import CRF, Inference


@dataclass(frozen=True)
class Predict:
    """Segment images: write a palette PNG of class ids for each, or an overlay.

        gcnlab predict runs/gcn7 street.jpg other.png --out predictions
        gcnlab predict runs/gcn7 street.jpg --inference.flip --inference.scales 0.75 1 1.25 crf:crf

    Images are read as viewers show them: rotated by their EXIF tag, transparent parts on white.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run's folder, a checkpoint, or the name of a pretrained network."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Image files, of any size."""
    out: Path = Path("predictions")
    """Folder for NAME.png."""
    overlay: bool = False
    """Write the image with the colours of the classes over it, instead of class ids."""
    inference: Inference = field(default_factory=Inference)
    """Flips, scales and tiles with which the network is run."""
    crf: CRF | None = None
    """Refine the class probabilities with a dense CRF (extra `crf`)."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""

    def __call__(self) -> None:
        if not self.images:
            raise ValueError("name at least one image to segment")
        import torch
        from PIL import Image

        from gcnlab.cli.results import result_paths
        from gcnlab.datasets.pictures import WHITE, palette_picture, read_image
        from gcnlab.training import load_run

        run = load_run(self.run, self.device)
        predictor = run.predictor(self.inference, self.crf)
        labels = run.labels
        targets = result_paths(self.images, self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        for path, target in targets.items():
            image = read_image(path, background=WHITE)
            ids = predictor.class_ids(run.normalization(image)).to(torch.uint8)
            if self.overlay:
                colored = labels.colorize(ids).float()
                mixed = 0.5 * image.permute(1, 2, 0).float() + 0.5 * colored
                picture = Image.fromarray(mixed.round().to(torch.uint8).numpy())
            else:
                picture = palette_picture(ids.numpy(), labels.colors)
            picture.save(target)
            print(target)
