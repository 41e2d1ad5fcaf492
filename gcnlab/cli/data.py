"""gcnlab data: check a data set's tree, fetch a data set, draw a miniature of it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm.auto import tqdm

from gcnlab.datasets import data_root
from gcnlab.datasets.download import SOURCES, fetch
from gcnlab.datasets.inspection import inspect_dataset
from gcnlab.datasets.miniature import MAKERS


@dataclass(frozen=True)
class Check:
    """Verify a data set: counts against the paper's, missing pairs, unreadable files, ids, sizes.

        gcnlab data check voc

    Reads every image and label. The exit status is 0 if all is well, else 1.
    """

    name: Annotated[str, tyro.conf.Positional]
    """voc, voc-test, sbd, coco, cityscapes, cityscapes-coarse, imagenet or camvid."""
    root: Path | None = None
    """Folder of all data sets; GCNLAB_DATA, or data, if not given."""
    workers: int = 0
    """Processes that read; 0 reads in the main process."""
    counts: bool = True
    """With --no-counts, do not compare counts and sizes with the official ones."""

    def __call__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"--workers must be 0 or positive, not {self.workers}")
        problems = 0
        with tqdm(unit="img", desc=self.name) as bar:

            def on_image(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            for report in inspect_dataset(
                self.name, self.root, self.workers, self.counts, on_image
            ):
                problems += len(report.problems)
                for problem in report.problems:
                    bar.write(f"  {problem}", file=sys.stdout)
                verdict = f"{len(report.problems)} problems" if report.problems else "good"
                bar.write(f"{report.split.name}: {report.images:,} images, {verdict}", sys.stdout)
                bar.reset()
        if problems:
            raise ValueError(f"{self.name}: {problems} problems found")


@dataclass(frozen=True)
class Get:
    """Download a data set, or learn where to register for it and where to unpack it.

        gcnlab data get voc

    Goes on where an earlier download stopped, checks the file, unpacks it, removes the archive.
    """

    name: Annotated[str, tyro.conf.Positional]
    """voc, sbd, coco, cityscapes, imagenet or camvid."""
    root: Path | None = None
    """Folder of all data sets; GCNLAB_DATA, or data, if not given."""
    yes: bool = False
    """Agree to the terms without being asked."""

    def __call__(self) -> None:
        if self.name not in SOURCES:
            raise ValueError(f"unknown data set {self.name!r}; choose one of {', '.join(SOURCES)}")
        root = data_root() if self.root is None else self.root
        source = SOURCES[self.name]
        print(source.terms)
        wanted = [a for a in source.archives if not (root / a.makes).exists()]
        if wanted:
            size = sum(archive.gigabytes for archive in wanted)
            question = f"Download {size:.1f} GB to {root.resolve()} under these terms? [y/N] "
            if not self.yes and not _agreed(question):
                raise ValueError("nothing was downloaded; --yes agrees without being asked")
        for archive in wanted:
            with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=archive.name) as bar:

                def on_bytes(done: int, total: int | None, bar: tqdm = bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                fetch(archive, root, on_bytes)
        if source.archives:
            print(f"{self.name} is in {root}; `gcnlab data check {self.name}` verifies it")
        if source.instructions:
            print(f"{source.instructions} (all under {root})")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # no one to ask
        return False


@dataclass(frozen=True)
class Miniature:
    """Draw a miniature of a data set in its official layout, a few images to try a protocol on.

    gcnlab data miniature voc --root /tmp/mini
    """

    name: Annotated[str, tyro.conf.Positional]
    """voc, sbd, coco, cityscapes or imagenet."""
    root: Path
    """Folder of all data sets: a new one, so that nothing real is written over."""

    def __call__(self) -> None:
        if self.name not in MAKERS:
            raise ValueError(f"unknown data set {self.name!r}; choose one of {', '.join(MAKERS)}")
        print(MAKERS[self.name](self.root))


@dataclass(frozen=True)
class Data:
    """Check a data set's tree, fetch a data set, or draw a miniature of it."""

    action: Annotated[
        Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
        | Annotated[Get, tyro.conf.subcommand("get", prefix_name=False)]
        | Annotated[Miniature, tyro.conf.subcommand("miniature", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]

    def __call__(self) -> None:
        self.action()
