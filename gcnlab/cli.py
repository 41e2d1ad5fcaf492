"""The command line: train, evaluate, predict, vrf, ship, bench. Every setting is a field of a frozen dataclass."""

import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from gcnlab.datasets import read_image
from gcnlab.datasets.labels import LabelSet
from gcnlab.evaluation import BoundaryRule, Scores, evaluate, predict
from gcnlab.provenance import provenance, write_json
from gcnlab.receptive import Occluder
from gcnlab.training import PRESETS, RunConfig, TrainedRun, TrainingDiverged, load_run, ship, train
from gcnlab.training.loop import mean_of_last

_Run = tyro.extras.subcommand_type_from_defaults(
    {name: config for name, (_, config) in PRESETS.items()},
    {name: text for name, (text, _) in PRESETS.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class Train:
    """Train a network and score it on the validation split.

    Start from a preset (shapes, camvid, paper) and change any setting behind it:

        gcnlab train shapes --out runs/gcn7 --model.head gcn --model.kernel-size 7
        gcnlab train shapes --out runs/base --model.head conv1x1 --model.no-refine

    The folder gets checkpoint.pt (resumed from when the same command is given again), and at the end
    result.json (scores, settings, provenance), log.csv and loss.png.
    """

    config: Annotated[_Run, tyro.conf.arg(name="")]
    """Preset to start from."""
    out: Path
    """Folder of the run."""
    resume: bool = True
    """Go on from the folder's checkpoint; with --no-resume start anew and replace it."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Processes that load images; 0 loads in the main process."""

    def __call__(self) -> None:
        run = train(self.config, self.out, self.resume, self.device, num_workers=self.workers)
        scores = evaluate(run.model, self.config.evaluation_set("val"), num_workers=self.workers)
        write_log(run, self.out / "log.csv")
        write_json(result(run, scores, "val"), self.out / "result.json")
        from gcnlab.plots import plot_losses

        plot_losses({describe(run.config): run.losses}).savefig(self.out / "loss.png", dpi=100)
        print_scores({describe(run.config): scores})


@dataclass(frozen=True)
class Evaluate:
    """Score one or several trained networks: mean IoU, per class, boundary and interior.

    gcnlab evaluate runs/base runs/gcn7 --split test
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, or checkpoints; all of one data set."""
    split: Literal["train", "val", "test"] = "val"
    """What to score on."""
    rule: BoundaryRule = field(default_factory=BoundaryRule)
    """What counts as boundary."""
    root: Path | None = None
    """Folder of the data set, if it is not where the run found it."""
    out: Path | None = None
    """Write scores and provenance to this JSON file (one network only)."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        if not self.runs:
            raise ValueError("name at least one run to evaluate")
        if self.out is not None and len(self.runs) > 1:
            raise ValueError("--out takes one run at a time")
        table = {}
        for name, path in zip(distinct_names(self.runs), self.runs):
            run = load_run(path, self.device)
            scores = evaluate(run.model, open_split(run, self.split, self.root), self.rule)
            table[name] = scores
            if self.out is not None:
                write_json(result(run, scores, self.split), self.out)
        print_scores(table)


@dataclass(frozen=True)
class Predict:
    """Segment pictures: a palette PNG of class ids for each, or a coloured overlay.

    gcnlab predict runs/gcn7 street.jpg other.png --out predictions
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or a checkpoint."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, of any size."""
    out: Path = Path("predictions")
    """Folder for NAME.png."""
    overlay: bool = False
    """Write the picture with the classes' colours over it, rather than class ids."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        if not self.images:
            raise ValueError("name at least one picture to segment")
        run = load_run(self.run, self.device)
        labels = run.config.data.labels
        targets = result_paths(self.images, self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        for path, target in targets.items():
            image = read_image(path)
            ids = predict(run.model, run.config.normalization(image)[None])[0].to(torch.uint8)
            if self.overlay:
                colored = labels.colorize(ids).float()
                mixed = 0.5 * image.permute(1, 2, 0).float() + 0.5 * colored
                picture = Image.fromarray(mixed.round().to(torch.uint8).numpy())
            else:
                picture = Image.fromarray(ids.numpy()).convert("P")
                picture.putpalette([value for color in labels.colors for value in color])
            picture.save(target)
            print(target)


@dataclass(frozen=True)
class Vrf:
    """Draw the valid receptive field of one pixel, as in the paper's Figure 3.

        gcnlab vrf runs/gcn7 bird.jpg --pixel 120 200 --out bird
        gcnlab vrf runs/gcn7 pictures --pixel 120 200 --out fields --method drilldown

    An occluder is moved over the picture; the region whose occlusion moves the pixel's score is drawn
    bright on the darkened picture, a red dot at the pixel. Writes OUT.png, and OUT.npz with the map. Of a
    folder's pictures each gets OUT/NAME.png and OUT/NAME.npz; what cannot be read is named and left out.
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
    out: Path = Path("vrf")
    """Path of the results, without ending; for a folder of pictures, the folder of the results."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        for name in ("threshold", "agreement"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"--{name} must be in (0, 1], not {getattr(self, name)}")
        run = load_run(self.run, self.device)
        target = class_id(self.target, run.config.data.labels)
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

        image = read_image(path)
        try:
            occlusion = occluder(run.config.normalization(image))
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
        name = run.config.data.labels.names[field.target]
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
        note = f"; {occlusion.note}" if occlusion.note and self.method != "plain" else ""
        return (
            f"{path.name}: {name} at {self.pixel}: score {field.score:.3f}, region "
            f"{100 * region.float().mean():.1f} % of the picture{run_share}; {out}.png, {out}.npz{note}"
        )


@dataclass(frozen=True)
class Ship:
    """Write trained networks as weights and a card, small enough to give away.

        gcnlab ship runs/base runs/gcn7 --out data/checkpoints

    Each network becomes OUT/NAME with weights.safetensors (half precision) and card.json (settings, scores,
    provenance). Every command that takes a run takes such a folder too.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs."""
    out: Path = Path("data/checkpoints")
    """Folder for the networks."""

    def __call__(self) -> None:
        if not self.runs:
            raise ValueError("name at least one run to ship")
        names = [path.resolve().name for path in self.runs]
        if len(set(names)) < len(names):
            raise ValueError("two of the runs have one name: ship them to different folders")
        for name, run in zip(names, self.runs):
            print(ship(run, self.out / name))


@dataclass(frozen=True)
class Bench:
    """Measure speed, side by side in one run, as a ratio.

        gcnlab bench vrf --out data/results/bench/vrf.json

    vrf: the valid receptive field, with activations reused and by drill-down, against Captum's Occlusion at its
    best setting. Takes about half an hour on two cores; leave the machine to itself.
    """

    what: Annotated[Literal["vrf"], tyro.conf.Positional]
    """What to measure."""
    out: Path | None = None
    """Write figures and provenance to this JSON file."""
    pairs: int = 10
    """Pairs of an image and a pixel."""
    full_captum: bool = False
    """Run Captum on all windows of the largest case, rather than on 16 of them."""
    growth: bool = False
    """Measure instead how time grows with image size, stride and k."""

    def __call__(self) -> None:
        from gcnlab.experiments.bench_vrf import bench_vrf

        if self.pairs < 1:
            raise ValueError(f"--pairs must be at least 1, not {self.pairs}")
        bench_vrf(self.out, self.pairs, self.full_captum, self.growth)


def describe(config: RunConfig) -> str:
    """A run in a few words: "mini gcn k=7 + BR"."""
    m = config.model
    k = "" if m.head == "conv1x1" else f" k={m.kernel_size}"
    return f"{m.backbone} {m.head}{k}{' + BR' if m.refine else ''}"


def result(run: TrainedRun, scores: Scores, split: str) -> dict:
    """What is written about a trained network: scores, settings, provenance."""
    training = run.config.training
    return {
        "what": f"{describe(run.config)} on {run.config.data.dataset}",
        "scores": asdict(scores),
        "final_loss": mean_of_last(run.losses),
        "steps": len(run.losses),
        "settings": run.config.to_dict(),
        "provenance": provenance(
            seeds=[training.seed],
            dataset=run.config.data.dataset,
            split=split,
            device=next(run.model.parameters()).device,
            seconds=run.seconds,
        ),
    }


def write_log(run: TrainedRun, path: Path) -> None:
    """The mean loss of each epoch, as CSV."""
    per_epoch = max(1, len(run.losses) // run.config.training.epochs)
    rows = ["epoch,steps,mean_loss"]
    for epoch in range(run.config.training.epochs):
        losses = run.losses[epoch * per_epoch : (epoch + 1) * per_epoch]
        rows.append(f"{epoch + 1},{(epoch + 1) * per_epoch},{sum(losses) / len(losses):.5f}")
    path.write_text("\n".join(rows) + "\n")


def print_scores(table: dict[str, Scores]) -> None:
    """A table of scores in percent: a row per score, a column per network."""
    first = next(iter(table.values()))
    view = Table(
        title=f"{first.images} images, boundary = {first.rule.distance:g} px {first.rule.norm}"
    )
    view.add_column("%")
    for name in table:
        view.add_column(name, justify="right")
    for row in ("miou", "accuracy", "boundary_accuracy", "internal_accuracy"):
        view.add_row(row.replace("_", " "), *(f"{getattr(s, row):.1f}" for s in table.values()))
    view.add_section()
    for name in first.iou:
        view.add_row(
            f"IoU {name}", *(f"{s.iou.get(name, float('nan')):.1f}" for s in table.values())
        )
    Console().print(view)


def open_split(run: TrainedRun, split: str, root: Path | None):
    """A split of the run's data set, from `root` if that is given."""
    data = run.config.data if root is None else replace(run.config.data, root=root)
    return replace(run.config, data=data).evaluation_set(split)


def distinct_names(paths: tuple[Path, ...]) -> list[str]:
    """The last part of each path, or the whole paths if two end alike."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def result_paths(images: tuple[Path, ...], out: Path) -> dict[Path, Path]:
    """Where each picture's result goes: `out`/NAME.png.

    Raises:
        ValueError: a result would overwrite a picture, or another result.
    """
    targets = {path: out / f"{path.stem}.png" for path in images}
    pictures = {path.resolve() for path in images}
    for path, target in targets.items():
        if target.resolve() in pictures:
            raise ValueError(f"--out {out}: the result of {path} would overwrite a picture")
    if len(set(targets.values())) < len(targets):
        raise ValueError(f"two of the pictures would have one result in {out}: rename one")
    return targets


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The files with a picture's ending, in the order of their names; hidden ones are left out.

    Raises:
        ValueError: there is none.
    """
    endings = Image.registered_extensions()
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in endings and not path.name.startswith(".") and path.is_file()
    )
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


def main() -> None:
    """Entry point of `gcnlab`."""
    chosen = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Predict, tyro.conf.subcommand("predict")]
        | Annotated[Vrf, tyro.conf.subcommand("vrf")]
        | Annotated[Ship, tyro.conf.subcommand("ship")]
        | Annotated[Bench, tyro.conf.subcommand("bench")],
        prog="gcnlab",
        description="Global Convolutional Networks for segmentation, and what they see.",
        config=(tyro.conf.CascadeSubcommandArgs,),
    )
    try:
        chosen()
    except (ValueError, OSError, TrainingDiverged) as error:
        print(f"gcnlab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ngcnlab: stopped; the last checkpoint stays", file=sys.stderr)
        sys.exit(130)
