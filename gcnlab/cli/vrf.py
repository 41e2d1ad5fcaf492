"""gcnlab vrf."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from PIL import Image
from tqdm.auto import tqdm

from gcnlab.cli.results import result_paths
from gcnlab.datasets import LabelSet, trees
from gcnlab.datasets.pictures import WHITE, read_image
from gcnlab.receptive import Occluder, Occlusion
from gcnlab.training import TrainedRun, load_run


@dataclass(frozen=True)
class Vrf:
    """Draw the valid receptive field of one pixel, as in the paper's Figure 3.

        gcnlab vrf runs/gcn7 bird.jpg --pixel 120 200 --out bird
        gcnlab vrf runs/gcn7 pictures --pixel 120 200 --out fields --method drilldown

    An occluder is moved over the picture; the region whose occlusion moves the pixel's score is drawn
    bright on the darkened picture, a red dot at the pixel. Writes OUT.png, and OUT.npz with the map. Of a
    folder's pictures each gets OUT/NAME.png and OUT/NAME.npz; what cannot be read is named and left out.

    Pictures are taken as viewers show them: turned as their EXIF tag says, transparent parts on white. Row and
    column count in the picture as it is shown.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or a checkpoint."""
    image: Annotated[Path, tyro.conf.Positional]
    """A picture, or a folder of pictures."""
    pixel: tuple[int, int]
    """Row and column."""
    target: str | None = None
    """Class, by name or id; the predicted one if not given."""
    method: Literal["exact", "drilldown", "plain"] = "exact"
    """exact: every occluder, from the clean picture's activations; drilldown: only the occluders that
    the region's edge depends on, the others interpolated; plain: the whole network for every occluder."""
    agreement: float = 0.95
    """For drilldown: intersection over union wanted with the region of all occluders, in (0, 1]."""
    window: int = 32
    """Side of the occluder, in pixels."""
    stride: int = 16
    """Steps between occluders, in pixels."""
    fill: float = 0.0
    """Value of the occluder in the normalised image; 0 is the mean colour."""
    threshold: float = 0.2
    """How much the region takes, in (0, 1]; the rule says of what."""
    rule: Literal["maximum", "mass"] = "maximum"
    """maximum: the region is where |discrepancy| ≥ threshold × its maximum; mass: the smallest region
    that holds that share of the sum of |discrepancy|."""
    batch_size: int = 16
    """Occluders at once."""
    check: int = 0
    """Occluders, spread over each picture, that are also run through the whole network to check the result. A
    network's first picture is checked with 4 in any case."""
    out: Path = Path("vrf")
    """Path of the results, without ending; for a folder of pictures, the folder of the results."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        for name in ("threshold", "agreement"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"--{name} must be in (0, 1], not {getattr(self, name)}")
        run = load_run(self.run, self.device)
        target = class_id(self.target, run.labels)
        occluder = Occluder(run.model, reuse=self.method != "plain")
        if not self.image.is_dir():
            if Path(f"{self.out}.png").resolve() == self.image.resolve():
                raise ValueError(f"--out {self.out}: the figure would overwrite the picture")
            print(self._draw(run, occluder, self.image, target, self.out, progress=True))
            return
        pictures = pictures_in(self.image)
        failed = 0
        with tqdm(result_paths(pictures, self.out).items(), unit="picture") as bar:
            for path, figure in bar:
                try:
                    line = self._draw(run, occluder, path, target, figure.with_suffix(""))
                    bar.write(line)
                except (ValueError, OSError) as error:
                    failed += 1
                    bar.write(f"gcnlab: {error}", file=sys.stderr)
        if failed:
            raise ValueError(f"{failed} of {len(pictures)} pictures in {self.image} were left out")

    def _draw(
        self,
        run: TrainedRun,
        occluder: Occluder,
        path: Path,
        target: int | None,
        out: Path,
        progress: bool = False,
    ) -> str:
        """Write the figure and the map of one picture; say so in a line."""
        import numpy as np

        from gcnlab.plots import plot_regions

        image = read_image(path, background=WHITE)
        try:
            occlusion = occluder(run.normalization(image))
            checked = self._checked(occlusion)
            field = occlusion.field(
                self.pixel,
                target,
                self.window,
                self.stride,
                self.fill,
                self.method,
                self.agreement,
                self.threshold,
                self.rule,
                self.batch_size,
                progress,
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        name = run.labels.names[field.target]
        region = field.region(self.threshold, self.rule)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure = plot_regions(
            image / 255, {name: field.discrepancy}, self.pixel, self.threshold, self.rule
        )
        figure.savefig(f"{out}.png", dpi=150)
        np.savez_compressed(
            f"{out}.npz",
            discrepancy=field.discrepancy.numpy(),
            region=region.numpy(),
            pixel=np.array(self.pixel),
            target=field.target,
            score=field.score,
            window=np.array(field.window),
            stride=np.array(field.stride),
            fill=field.fill,
            threshold=self.threshold,
            rule=self.rule,
            method=self.method,
            evaluated=field.evaluated,
            agreement=field.agreement,
        )
        run_share = f", {field.evaluated:.0%} of the occluders run" if field.evaluated < 1 else ""
        note = f"; {field.note}" if field.note else ""
        return (
            f"{path.name}: {name} at {self.pixel}: score {field.score:.3f}, region "
            f"{100 * region.float().mean():.1f} % of the picture{run_share}{checked}; {out}.png, {out}.npz{note}"
        )

    def _checked(self, occlusion: Occlusion) -> str:
        """What the check found that was asked for."""
        if self.check == 0:
            return ""
        found = occlusion.check(self.pixel, self.window, self.stride, self.fill, self.check)
        if found.windows == 0:
            return ", nothing reused that could be checked"
        return f", checked with {found.windows} occluders: off by {found.difference:.1g}"


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The files with a picture's ending, in the order of their names; hidden ones are left out.

    Raises:
        ValueError: there is none.
    """
    endings = {
        ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN
    }
    found = trees.pictures_in(folder, endings)
    if not found:
        raise ValueError(f"no pictures in {folder}")
    return tuple(found)


def class_id(target: str | None, labels: LabelSet) -> int | None:
    """A class given by name or number, as a number."""
    if target is None:
        return None
    if target in labels.names:
        return labels.names.index(target)
    if target.isdecimal() and int(target) < len(labels.names):
        return int(target)
    raise ValueError(f"--target {target!r} is none of the classes {', '.join(labels.names)}")
