"""gcnlab data: check the files of a data set, download it, or make a miniature of it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Check:
    """Check the files of a data set: counts, missing or unreadable files, ids and sizes.

        gcnlab data check voc

    Reads every image and label map. The exit status is 0 if there is no problem, else 1.
    """

    name: Annotated[str, tyro.conf.Positional]
    """voc, voc-test, sbd, voc-animals, coco, cityscapes, cityscapes-coarse, imagenet or camvid."""
    root: Path | None = None
    """Folder of all data sets; the default is the environment variable GCNLAB_DATA, or data."""
    workers: int = 0
    """Number of processes that read files; 0 reads in the main process."""
    counts: bool = True
    """Compare counts and sizes with the official ones."""

    def __call__(self) -> None:
        from tqdm.auto import tqdm

        from gcnlab.datasets.inspection import inspect_dataset

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
                verdict = f"{len(report.problems)} problems" if report.problems else "no problems"
                bar.write(f"{report.split.name}: {report.images:,} images, {verdict}", sys.stdout)
                bar.reset()
        if problems:
            raise ValueError(f"{self.name}: found {problems} problems")


@dataclass(frozen=True)
class Get:
    """Download a data set, or print where to register for it and where to unpack it.

        gcnlab data get voc

    Resumes an interrupted download, verifies the archive, unpacks it and removes it.
    """

    name: Annotated[str, tyro.conf.Positional]
    """voc, sbd, voc-animals, coco, cityscapes, imagenet or camvid."""
    root: Path | None = None
    """Folder of all data sets; the default is the environment variable GCNLAB_DATA, or data."""
    yes: bool = False
    """Agree to the terms without a question."""

    def __call__(self) -> None:
        from tqdm.auto import tqdm

        from gcnlab.datasets.download import SOURCES, fetch
        from gcnlab.datasets.trees import data_root

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
                raise ValueError("nothing was downloaded; to agree without a question, add --yes")
        for archive in wanted:
            with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=archive.name) as bar:

                def on_bytes(done: int, total: int | None, bar: tqdm = bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                fetch(archive, root, on_bytes)
        if source.archives:
            print(f"{self.name} is in {root}; run `gcnlab data check {self.name}` to verify it")
        if source.instructions:
            print(f"{source.instructions} (All paths are relative to {root}.)")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # no input, for example in a script
        return False


@dataclass(frozen=True)
class Miniature:
    """Make a miniature of a data set: a few drawn images in the official layout, to try a protocol.

    gcnlab data miniature voc --root /tmp/mini
    """

    name: Annotated[str, tyro.conf.Positional]
    """voc, sbd, voc-animals, coco, cityscapes or imagenet."""
    root: Path
    """Folder for the miniature data sets; a data set that exists there is not overwritten."""

    def __call__(self) -> None:
        from gcnlab.datasets.miniature import MAKERS

        if self.name not in MAKERS:
            raise ValueError(f"unknown data set {self.name!r}; choose one of {', '.join(MAKERS)}")
        print(MAKERS[self.name](self.root))


@dataclass(frozen=True)
class Data:
    """Check the files of a data set, download it, or make a miniature of it."""

    action: Annotated[
        Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
        | Annotated[Get, tyro.conf.subcommand("get", prefix_name=False)]
        | Annotated[Miniature, tyro.conf.subcommand("miniature", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]

    def __call__(self) -> None:
        self.action()
