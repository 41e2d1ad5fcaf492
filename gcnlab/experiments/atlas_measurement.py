"""Measure the fields of all pixels on the objects of an image, for networks on one backbone.

For the true class of every object, each pixel's field is described by the share of the object that
it covers, its size, and what of it is outside of the object (`gcnlab.receptive.field_maps`). What is
kept of them is in `gcnlab.experiments.atlas_results`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Float, Int, Shaped, Tensor
from gcnlab.datasets.cutout import depths
from gcnlab.experiments.atlas_results import MEASURES, PARTS, ImageRanks, Measured, ObjectParts
from gcnlab.experiments.object_fields import padded
from gcnlab.experiments.objects import LabelledObject, mask_of, objects_in
from gcnlab.experiments.rank_correlation import rank_correlation
from gcnlab.experiments.shared_backbone import (
    Joined,
    backbone_key,
    compiled_backbone,
    tables_together,
)
from gcnlab.models.logits import logits_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive import FieldAtlas, field_maps
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.settings import AtlasSettings
from gcnlab.training import TrainedRun

WINDOWS = {"shapes": 32}
"""Data set → side of the occluder, in pixels; 48 for the other data sets."""

BATCH = 8
"""Windows at a time."""


@dataclass(frozen=True)
class Settings:
    """The images, and how their fields are measured."""

    images: int = 100
    """Number of images with an object, in random order."""
    split: str = "val"
    """The split with the images."""
    least_depth: int = 16
    """Smallest radius of the largest circle inside an object, in pixels."""
    window: int | None = None
    """Side of the occluder, in pixels; it moves by half of its side. Default: 48, or 32 on
    Shapes."""
    every: int = 8
    """Distance between the pixels whose fields are kept, in pixels: 1, 2, 4 or 8."""
    seed: int = 0
    """Seed of the order of the images."""
    compile: bool = False
    """Run the whole network for every window, with the backbone compiled, instead of reusing the
    clean image's activations: quicker for several networks on one large frozen backbone."""

    def __post_init__(self):
        for name in ("images", "least_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or positive, not {self.seed}")
        if self.window is not None and self.window < 2:
            raise ValueError(f"window must be at least 2, not {self.window}")


class Measurement:
    """Networks on one backbone, whose fields are measured image by image.

    Args:
        runs: the networks.
        settings: how they are measured.

    Raises:
        ValueError: the networks do not share a backbone.
    """

    def __init__(self, runs: list[TrainedRun], settings: Settings):
        models = [run.model for run in runs]
        if len({backbone_key(model) for model in models}) > 1:
            raise ValueError("the networks must share one frozen backbone to be measured together")
        self.data, self.normalization = runs[0].config.data, runs[0].normalization
        self.settings, self.models = settings, models
        self._compiled = compiled_backbone(models[0].backbone) if settings.compile else None
        self._graphs: dict[tuple[int, int], Graph | NotTraceable] = {}

    def __call__(
        self,
        picture: Shaped[Tensor, "3 height width"],
        labels: Shaped[Tensor, "height width"],
        objects: list[LabelledObject],
    ) -> list[Measured]:
        """For each network, the objects and the correlations within the image."""
        image = padded(self.normalization(picture), self.data)
        number = padded(_numbered(labels, objects) + 1, self.data) - 1
        depth = torch.full(number.shape, float("nan"), dtype=torch.float64)
        for i in range(len(objects)):
            own = depths(number == i)
            depth[number == i] = torch.from_numpy(own / own.max())[number == i]
        kinds = tuple(sorted({item.kind for item in objects}))
        window = self.settings.window or WINDOWS.get(self.data.dataset, 48)
        atlas = AtlasSettings(window, window // 2, target=kinds, every=self.settings.every)
        found = []
        for table in self._tables(image, atlas):
            units = {kind: _units(table, number, kind) for kind in kinds}
            found.append(_described(objects, units, number, depth))
        return found

    def _tables(
        self, image: Float[Tensor, "3 height width"], settings: AtlasSettings
    ) -> list[AtlasTable]:
        """The drops of all windows, for each network."""
        if self._compiled is not None:
            return tables_together(self.models, image, settings, BATCH, self._compiled)
        net, size, kinds = Joined(self.models), tuple(image.shape[-2:]), settings.target
        if size not in self._graphs:
            try:
                self._graphs[size] = Graph(net, image[None])
            except NotTraceable as error:
                self._graphs[size] = error
        counts = [model.num_classes for model in self.models]
        starts = np.cumsum([0, *counts[:-1]]).tolist()
        atlas = FieldAtlas(
            net,
            image,
            settings.window,
            settings.stride,
            target=tuple(start + kind for start in starts for kind in kinds),
            every=settings.every,
            batch_size=BATCH,
            graph=self._graphs[size],
        ).build()
        with evaluation_mode(net), torch.no_grad():
            logits = logits_of(net, image[None])[0].cpu()
        rows, columns = (torch.from_numpy(at) for at in atlas.units)
        tables = []
        for n, (start, count) in enumerate(zip(starts, counts)):
            own = slice(n * len(kinds), (n + 1) * len(kinds))
            tables.append(
                replace(
                    atlas.table,
                    settings=settings,
                    values=atlas.table.values[own],
                    scale=atlas.table.scale[own],
                    score=atlas.table.score[own],
                    predicted=logits[start : start + count].argmax(0)[rows[:, None], columns],
                )
            )
        return tables


def _numbered(
    labels: Shaped[Tensor, "height width"], objects: list[LabelledObject]
) -> Int[Tensor, "height width"]:
    """The position in the list of the object at each pixel; −1 where there is none."""
    found = torch.full(labels.shape, -1)
    for i, item in enumerate(objects):
        found[mask_of(labels, item)] = i
    return found


def _units(table: AtlasTable, number: Int[Tensor, "height width"], kind: int) -> dict[str, Tensor]:
    """Measure → its value at each unit for a class, and the units' pixels in the image."""
    maps = field_maps(FieldAtlas.of_table(table), number, target=kind)
    return {
        "pixels": maps.centres,
        "right": 100 * (table.predicted == kind).double(),
        **{name: 100 * getattr(maps, name).double() for name in ("coverage", "context", "area")},
        **{name: getattr(maps, name).double() for name in ("radius", "offset")},
    }


def _described(
    objects: list[LabelledObject],
    units: dict[int, dict[str, Tensor]],
    number: Int[Tensor, "height width"],
    depth: Float[Tensor, "height width"],
) -> Measured:
    """The means in the parts of each object, and the correlations over the units on objects."""
    parts, everywhere = [], []
    for i, item in enumerate(objects):
        values = units[item.kind]
        rows, columns = values["pixels"].unbind(-1)
        own = number[rows, columns] == i
        deep = depth[rows, columns][own].numpy()
        here = {name: values[name][own].numpy() for name in MEASURES}
        part = np.ceil(deep * PARTS).astype(int) - 1
        means = {
            name: tuple(_mean(column[part == p]) for p in range(PARTS))
            for name, column in here.items()
        }
        counts = tuple(int((part == p).sum()) for p in range(PARTS))
        parts.append(ObjectParts(item, counts, means))
        everywhere.append(np.stack([here["coverage"], here["right"], deep]))
    coverage, right, deep = np.concatenate(everywhere, 1)
    ranks = ImageRanks(
        objects[0].image,
        len(deep),
        rank_correlation(coverage, right).rho,
        rank_correlation(coverage, deep).rho,
        rank_correlation(right, deep).rho,
    )
    return parts, ranks


def _mean(values: np.ndarray) -> float:
    """Mean of those that are not NaN; NaN if there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def images_with_objects(
    dataset: Dataset, settings: Settings
) -> Iterator[tuple[Shaped[Tensor, "3 height width"], Tensor, list[LabelledObject]]]:
    """Images in random order with their labels and objects; those without an object are left out."""
    order = np.random.default_rng(settings.seed).permutation(len(dataset))
    chosen = 0
    for index in order.tolist():
        picture, labels = dataset[index]
        labels = torch.as_tensor(labels)
        if objects := objects_in(labels, index, settings.least_depth):
            yield picture, labels, objects
            chosen += 1
            if chosen == settings.images:
                return
