"""gcnlab vrf."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gcnlab.receptive.settings import OcclusionSettings

if TYPE_CHECKING:
    from gcnlab.datasets import LabelSet
    from gcnlab.receptive import Occlusion, OcclusionSession
    from gcnlab.training import TrainedRun


@dataclass(frozen=True)
class Vrf:
    """Draw the valid receptive field of one pixel, as in the paper's Figure 3.

        gcnlab vrf runs/gcn7 bird.jpg --pixel 120 200 --out bird
        gcnlab vrf runs/gcn7 images --pixel 120 200 --out fields --method drilldown

    An occluder is moved over the image. The region where it changes the pixel's logit (or margin,
    or probability) is drawn bright on the darkened image, with a red dot at the pixel. Writes
    OUT.png, and OUT.npz with the map; for a folder of images, OUT/NAME.png and OUT/NAME.npz for
    each. Images that cannot be read are named and skipped.

    Images are read as viewers show them: rotated by their EXIF tag, transparent parts on white.
    Row and column refer to the image as shown.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run's folder, a checkpoint, or the name of a pretrained network."""
    image: Annotated[Path, tyro.conf.Positional]
    """An image file, or a folder of image files."""
    pixel: tuple[int, int]
    """Row and column of the pixel, from 0."""
    target: str | None = None
    """Name or id of the class; default: the predicted class."""
    occlusion: tyro.conf.OmitArgPrefixes[OcclusionSettings] = field(
        default_factory=OcclusionSettings
    )
    """Occluder, method and region."""
    check: int = 0
    """Number of windows, spread over each image, that are also run through the whole network to
    check the result. The first image is always checked with 4."""
    out: Path = Path("vrf")
    """Path of the results without extension; for a folder of images, the folder of the
    results."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""

    def __call__(self) -> None:
        from tqdm.auto import tqdm

        from gcnlab.cli.results import result_paths
        from gcnlab.receptive import OcclusionSession
        from gcnlab.training import load_run

        run = load_run(self.run, self.device)
        target = class_id(self.target, run.labels)
        session = OcclusionSession(run.model, reuse=self.occlusion.method != "plain")
        if not self.image.is_dir():
            if Path(f"{self.out}.png").resolve() == self.image.resolve():
                raise ValueError(f"--out {self.out}: the figure would overwrite the image")
            print(self._draw(run, session, self.image, target, self.out, progress=True))
            return
        pictures = pictures_in(self.image)
        failed = 0
        with tqdm(result_paths(pictures, self.out).items(), unit="image") as bar:
            for path, figure in bar:
                try:
                    line = self._draw(run, session, path, target, figure.with_suffix(""))
                    bar.write(line)
                except (ValueError, OSError) as error:
                    failed += 1
                    bar.write(f"gcnlab: {error}", file=sys.stderr)
        if failed:
            raise ValueError(f"{failed} of {len(pictures)} images in {self.image} were skipped")

    def _draw(
        self,
        run: "TrainedRun",
        session: "OcclusionSession",
        path: Path,
        target: int | None,
        out: Path,
        progress: bool = False,
    ) -> str:
        """Write the figure and the map of one image; return a line that describes them."""
        import numpy as np

        from gcnlab.datasets.pictures import WHITE, read_image
        from gcnlab.plots import plot_regions
        from gcnlab.receptive.regions import region_text

        settings = self.occlusion
        threshold, rule = settings.region
        image = read_image(path, background=WHITE)
        try:
            occlusion = session.on(run.normalization(image))
            checked = self._checked(occlusion)
            field = occlusion.field(self.pixel, target, settings, progress)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        name = run.labels.names[field.target]
        region = field.region(threshold, rule)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure = plot_regions(image / 255, {name: field.discrepancy}, self.pixel, threshold, rule)
        figure.savefig(f"{out}.png", dpi=150)
        np.savez_compressed(
            f"{out}.npz",
            discrepancy=field.discrepancy.numpy(),
            region=region.numpy(),
            pixel=np.array(self.pixel),
            target=field.target,
            score=field.score,
            quantity=field.quantity,
            radius=field.radius(),
            window=np.array(field.window),
            stride=np.array(field.stride),
            fill=field.fill,
            threshold=threshold,
            rule=rule,
            method=settings.method,
            evaluated=field.evaluated,
            agreement=field.agreement,
        )
        run_share = f", {field.evaluated:.0%} of the windows run" if field.evaluated < 1 else ""
        note = f"; {field.note}" if field.note else ""
        known = field.discrepancy.any()  # a field of zeros has no radius
        radius = f", radius {field.radius():.0f} px" if known else ""
        return (
            f"{path.name}: {name} at {self.pixel}: {field.quantity} {field.score:.3f}, "
            f"{region_text(threshold, rule)} in {100 * region.float().mean():.1f} % "
            f"of the image{radius}{run_share}{checked}; {out}.png, {out}.npz{note}"
        )

    def _checked(self, occlusion: "Occlusion") -> str:
        """Describe the result of --check, if it is asked for."""
        if self.check == 0:
            return ""
        found = occlusion.self_check(self.pixel, self.occlusion, self.check)
        if found.windows == 0:
            return ", not checked since no activations are reused"
        return f", checked with {found.windows} windows: largest difference {found.difference:.1g}"


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The image files of a folder, sorted by name; hidden files are ignored.

    Raises:
        ValueError: the folder contains no image file.
    """
    from PIL import Image

    from gcnlab.datasets import trees

    endings = {
        ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN
    }
    found = trees.pictures_in(folder, endings)
    if not found:
        raise ValueError(f"no images in {folder}")
    return tuple(found)


def class_id(target: str | None, labels: "LabelSet") -> int | None:
    """The id of a class that is given by name or id.

    Raises:
        ValueError: there is no such class.
    """
    if target is None:
        return None
    if target in labels.names:
        return labels.names.index(target)
    if target.isdecimal() and int(target) < len(labels.names):
        return int(target)
    raise ValueError(f"--target {target!r} is not one of the classes {', '.join(labels.names)}")
