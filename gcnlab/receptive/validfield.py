"""The result of an occlusion: the valid receptive field of one unit on one image."""

from dataclasses import dataclass

from gcnlab.annotations import Bool, Float, Tensor
from gcnlab.receptive.regions import coverage, region


@dataclass(frozen=True)
class ValidField:
    """The valid receptive field of one unit on one image.

    Attributes:
        discrepancy: for each pixel, the mean of logit(clean) − logit(occluded) over the windows
            that cover it; positive where the pixel supports the class. On the CPU.
        pixel: (row, column) of the unit on the score map.
        target: id of the class.
        score: logit of the class at the unit, on the clean image.
        window: (height, width) of the occluder, in pixels.
        stride: distances between its positions along rows and columns, in pixels.
        fill: value of the occluder.
        evaluated: share of the windows that were run, 0 … 1; the others are interpolated.
        agreement: expected intersection over union with the region of all windows, 0 … 1.
        note: what was not reused, and the position of the unit on the image if the score map and
            the image differ in size; empty if there is nothing to report.
    """

    discrepancy: Float[Tensor, "height width"]
    pixel: tuple[int, int]
    target: int
    score: float
    window: tuple[int, int]
    stride: tuple[int, int]
    fill: int | float
    evaluated: int | float = 1.0
    agreement: int | float = 1.0
    note: str = ""

    def region(
        self, threshold: int | float = 0.2, rule: str = "maximum"
    ) -> Bool[Tensor, "height width"]:
        """Mark the pixels where `|discrepancy|` is large (see `gcnlab.receptive.regions`)."""
        return region(self.discrepancy, threshold, rule)

    def coverage(self, mask: Tensor, threshold: int | float = 0.2, rule: str = "maximum") -> float:
        """Share of `mask`, (height, width) bool, inside the region, 0 … 1."""
        return coverage(self.region(threshold, rule), mask)
