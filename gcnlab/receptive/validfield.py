"""The result of an occlusion: the valid receptive field of one unit on one image."""

from dataclasses import dataclass

from gcnlab.annotations import Bool, Float, Tensor
from gcnlab.receptive.region import coverage, region


@dataclass(frozen=True)
class ValidField:
    """The valid receptive field of one unit on one image.

    Attributes:
        discrepancy: per pixel the mean of score(clean) − score(occluded) over the windows on it;
            positive where the pixel speaks for the class. On the CPU.
        pixel: (row, column) of the unit.
        target: its class.
        score: its score on the clean image.
        window, stride: (height, width) of the occluder and of its steps, in pixels.
        fill: the value it has.
        evaluated: share of the windows that were run, 0 … 1; the others are interpolated.
        agreement: expected intersection over union with the region of all windows, 0 … 1.
        note: what was not reused, and where the unit lies if the score map has another size than the
            image; empty if there is nothing to say.
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
        """Where `|discrepancy|` is large (see `gcnlab.receptive.region`)."""
        return region(self.discrepancy, threshold, rule)

    def coverage(self, mask: Tensor, threshold: int | float = 0.2, rule: str = "maximum") -> float:
        """Share of `mask`, (height, width) bool, that lies inside the region, 0 … 1."""
        return coverage(self.region(threshold, rule), mask)
