"""Figure 3 of the paper: one object at several sizes, and what the networks see of it.

The paper shows a bird small, then enlarged, with the valid receptive field of a pixel inside it: the
field of a conventional network covers the small bird and only a part of the large one, and that of
GCN covers both. Here any object of a photograph is laid on a ground at any sizes, and the field is
that of the pixel deepest inside it, for the object's class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from gcnlab.annotations import Tensor, UInt8
from gcnlab.arguments import Whole
from gcnlab.datasets.cutout import Cutout, Placed, at_scales
from gcnlab.experiments.examples import predict_classes
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive import OcclusionSession, OcclusionSettings, ValidField
from gcnlab.receptive.unit import unit_at
from gcnlab.training import TrainedRun


@dataclass(frozen=True, eq=False)
class SizedField:
    """The field of an object at one size under one network.

    Attributes:
        network: name of the network.
        placed: the object on its ground.
        field: the valid receptive field of the pixel deepest inside the object.
        right: share of the object's pixels that are classified correctly, 0 … 1.
    """

    network: str
    placed: Placed
    field: ValidField
    right: float

    @property
    def coverage(self) -> float:
        """Share of the object that the region of the field covers, 0 … 1."""
        return self.field.coverage(self.placed.mask)


def fields_at_scales(
    runs: dict[str, TrainedRun],
    item: Cutout,
    kind: Whole,
    ground: UInt8[Tensor, "3 height width"],
    scales: Sequence[int | float] = (0.5, 1.0, 1.8),
    settings: OcclusionSettings | None = None,
    progress: bool = True,
) -> list[list[SizedField]]:
    """The valid receptive field of an object at several sizes under several networks.

    Args:
        runs: name → network, in the order of the figure.
        item: the object.
        kind: id of its class.
        ground: the image that it is laid on, in the middle.
        scales: factors of the object's size.
        settings: the occluder; None for windows of 48 px every 24.
        progress: show a progress bar.

    Returns:
        One row per network with one field per size.

    Raises:
        ValueError: see `gcnlab.datasets.paste` and `Occlusion.field`.
    """
    settings = settings or OcclusionSettings(window=48, stride=24)
    places = list(at_scales(item, ground, scales))
    bar = tqdm(total=len(runs) * len(places), desc="fields", disable=not progress)
    rows = []
    with bar:
        for name, run in runs.items():
            session, row = OcclusionSession(run.model), []
            with evaluation_mode(run.model):
                for placed in places:
                    occlusion = session.on(run.normalization(placed.image))
                    size, units = placed.image.shape[-2:], occlusion.score_map.shape[-2:]
                    unit = unit_at(placed.pixel, tuple(size), tuple(units))
                    field = occlusion.field(unit, kind, settings)
                    classes = predict_classes(run, placed.image)
                    right = (classes[placed.mask] == kind).double().mean().item()
                    row.append(SizedField(name, placed, field, right))
                    bar.update()
            rows.append(row)
    return rows


def describe(field: SizedField) -> str:
    """A field in one line of text: the size, coverage, radius, and share of correct pixels."""
    return (
        f"{field.network}, × {field.placed.scale:g}: covers {field.coverage:.0%} of the object, "
        f"radius {field.field.radius():.0f} px, {field.right:.0%} of the object right"
    )
