"""The result of an occlusion: the valid receptive field of one unit on one image."""

from dataclasses import dataclass

from gcnlab.annotations import Bool, Float, Tensor
from gcnlab.receptive.regions import area, coverage, radius, region


@dataclass(frozen=True)
class ValidField:
    """The valid receptive field of one unit on one image.

    Attributes:
        discrepancy: for each pixel, the mean of clean − occluded of the measured quantity over the
            windows that cover it; positive where the pixel supports the class. On the CPU.
        pixel: (row, column) of the unit on the score map.
        target: id of the class.
        score: logit, margin or probability of the class at the unit, on the clean image.
        window: (height, width) of the occluder, in pixels.
        stride: distances between its positions along rows and columns, in pixels.
        fill: what the occluder showed: a number, or a name (`gcnlab.receptive.fills`).
        evaluated: share of the windows that were run, 0 … 1; the others are interpolated.
        agreement: expected intersection over union with the region of all windows, 0 … 1.
        note: what was not reused, and the position of the unit on the image if the score map and
            the image differ in size; empty if there is nothing to report.
        quantity: what was measured: "logit", "margin" or "probability"
            (`gcnlab.receptive.quantity`).
        centre: (row, column) on the image of the unit's middle; None if it is `pixel`.
    """

    discrepancy: Float[Tensor, "height width"]
    pixel: tuple[int, int]
    target: int
    score: float
    window: tuple[int, int]
    stride: tuple[int, int]
    fill: int | float | str
    evaluated: int | float = 1.0
    agreement: int | float = 1.0
    note: str = ""
    quantity: str = "logit"
    centre: tuple[int, int] | None = None

    def region(
        self, threshold: int | float | None = None, rule: str | None = None
    ) -> Bool[Tensor, "height width"]:
        """Mark the pixels where `|discrepancy|` is large (see `gcnlab.receptive.regions`)."""
        return region(self.discrepancy, threshold, rule)

    def coverage(
        self, mask: Tensor, threshold: int | float | None = None, rule: str | None = None
    ) -> float:
        """Share of `mask`, (height, width) bool, inside the region, 0 … 1."""
        return coverage(self.region(threshold, rule), mask)

    def area(self, threshold: int | float | None = None, rule: str | None = None) -> float:
        """Share of the image in the region, 0 … 1."""
        return area(self.discrepancy, threshold, rule)

    def radius(self) -> float:
        """Root mean square distance of `|discrepancy|` from the unit, in pixels of the image."""
        return radius(self.discrepancy, self.pixel if self.centre is None else self.centre)
