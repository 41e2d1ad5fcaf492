"""The valid receptive field, by occlusion (Zhou et al., ICLR 2015; the paper's Figure 3).

A small occluder is laid on the image at each position of a grid; how much the score of one unit drops is
the discrepancy of the pixels beneath it. Thresholded, the map is the region that really drives the unit.

A pixel's discrepancy is the mean over the windows that cover it (`gcnlab.receptive.windows`).

Three methods give the map:

- "plain" runs the whole network for every window;
- "exact" computes the same numbers from the clean image's activations (`gcnlab.receptive.incremental`);
- "drilldown" does so for a part of the windows: coarsely everywhere, finely where the region's edge runs
  (`gcnlab.receptive.drilldown`).
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from gcnlab.annotations import Bool, Float, Tensor
from gcnlab.models.modes import evaluation_mode
from gcnlab.models.scoring import scores_of
from gcnlab.receptive.drilldown import drill_down
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.incremental import IncrementalNet
from gcnlab.receptive.region import coverage, region
from gcnlab.receptive.unit import check_image, check_scores, locate
from gcnlab.receptive.windows import Windows

METHODS = ("plain", "exact", "drilldown")
Watch = Callable[[float], None]
"""Is told the share of the work that is done, 0 … 1, and ends the work by raising an exception."""

KEPT = 8
"""Sets of windows whose drops an `Occlusion` remembers."""


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

    def region(
        self, threshold: int | float = 0.2, rule: str = "maximum"
    ) -> Bool[Tensor, "height width"]:
        """Where `|discrepancy|` is large (see `gcnlab.receptive.region`)."""
        return region(self.discrepancy, threshold, rule)

    def coverage(self, mask: Tensor, threshold: int | float = 0.2, rule: str = "maximum") -> float:
        """Share of `mask`, (height, width) bool, that lies inside the region, 0 … 1."""
        return coverage(self.region(threshold, rule), mask)


class Occlusion:
    """Valid receptive fields of one network on one image, for any pixel, class and occluder.

    Between calls the clean image's activations stay, and so do the scores of the latest windows: another
    class, another threshold or a finer drill-down at the same pixel costs nothing, or only what is new.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was. Its weights must
            not change while this is used.
        image: (channels, height, width), what the model takes (already normalised).
        reuse: keep activations. Without, or if the network cannot be exported as a graph, the whole network is
            run for every window, with every method.
        graph: of the network for images of this size, to save exporting it again.

    Attributes:
        scores: of the clean image, (classes, rows, columns), on the CPU.
        note: what keeps activations from being reused, in words; empty if nothing does.

    Raises:
        ValueError: the image is not one image, or its scores are not finite.
        TypeError: the model does not answer with a map of scores.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Float[Tensor, "channels height width"],
        reuse: bool = True,
        graph: Graph | None = None,
    ):
        check_image(image)
        self.model, self.image, self.note = model, image.detach(), ""
        self._net: IncrementalNet | None = None
        if reuse:
            try:
                self._net = IncrementalNet(model, self.image, graph)
            except NotTraceable as error:
                self.note = f"every window runs the whole network: {error}"
            else:
                if self._net.whole:
                    layers = ", ".join(self._net.whole[:3]) + (" …" if self._net.whole[3:] else "")
                    self.note = f"computed on the whole map for every window from here on: {layers}"
        if self._net is None:
            with evaluation_mode(model), torch.inference_mode():
                scores = scores_of(model, self.image[None])[0]
        else:
            scores = self._net.scores
        check_scores(scores)
        self.scores = scores.cpu().to(torch.promote_types(scores.dtype, torch.float32))
        self._drops: OrderedDict[tuple, _Drops] = OrderedDict()

    def field(
        self,
        pixel: tuple[int, int],
        target: int | None = None,
        window: int | tuple[int, int] = 32,
        stride: int | tuple[int, int] = 16,
        fill: int | float = 0.0,
        method: str = "exact",
        agreement: int | float = 0.95,
        threshold: int | float = 0.2,
        rule: str = "maximum",
        batch_size: int = 16,
        progress: bool = False,
    ) -> ValidField:
        """The valid field of one unit; the arguments are those of `valid_field`."""
        steps = self.steps(
            pixel,
            target,
            window,
            stride,
            fill,
            method,
            agreement,
            threshold,
            rule,
            batch_size,
            progress,
        )
        for field in steps:  # noqa: B007
            pass
        return field

    def steps(
        self,
        pixel: tuple[int, int],
        target: int | None = None,
        window: int | tuple[int, int] = 32,
        stride: int | tuple[int, int] = 16,
        fill: int | float = 0.0,
        method: str = "drilldown",
        agreement: int | float = 0.95,
        threshold: int | float = 0.2,
        rule: str = "maximum",
        batch_size: int = 16,
        progress: bool = False,
        watch: Watch | None = None,
    ) -> Iterator[ValidField]:
        """The same, as a series of pictures that get sharper; the last one is the result.

        "drilldown" gives the first picture after a few windows, the other methods give one picture, the
        last. To cancel, stop iterating, or raise an exception in `watch`, which is called after every batch
        with the share of the next picture's windows that have been run: what was run is kept.
        """
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; choose {', '.join(METHODS)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        windows = Windows(tuple(self.image.shape[-2:]), window, stride)
        target = locate(self.scores, pixel, target)
        known = self._known_drops(windows, pixel, fill)

        def field(drops: np.ndarray, agreed: float) -> ValidField:
            return ValidField(
                discrepancy=windows.spread(torch.from_numpy(drops)),
                pixel=tuple(pixel),
                target=target,
                score=self.scores[target, pixel[0], pixel[1]].item(),
                window=windows.window,
                stride=windows.stride,
                fill=fill,
                evaluated=known.done.mean().item(),
                agreement=agreed,
            )

        with tqdm(total=math.prod(windows.shape), desc="occlude", disable=not progress) as bar:

            def run(members: list[tuple[int, int]]) -> np.ndarray:
                missing = [member for member in members if not known.done[member]]
                bar.update(len(members) - len(missing))
                batches = self._plain if method == "plain" or self._net is None else self._exact
                done = 0
                for batch, drops in batches(windows, missing, pixel, fill, batch_size):
                    index = tuple(np.array(batch).T)
                    known.drops[index], known.done[index] = drops, True
                    bar.update(len(batch))
                    done += len(batch)
                    if watch is not None:
                        watch(done / len(missing))
                return known.drops[(*np.array(members).T, target)]

            if method == "drilldown":
                for drops, agreed in drill_down(windows, run, threshold, rule, agreement):
                    yield field(drops, agreed)
            else:
                members = windows.members()
                yield field(run(members).reshape(windows.shape), 1.0)

    def savings(
        self,
        pixel: tuple[int, int],
        window: int | tuple[int, int] = 32,
        stride: int | tuple[int, int] = 16,
        batch_size: int = 16,
    ) -> float:
        """Multiply-adds of running the whole network for every window, over those of "exact".

        This bounds what reuse can win, if both run at the same multiply-adds per second. Nothing is run.
        """
        if self._net is None:
            return 1.0
        windows = Windows(tuple(self.image.shape[-2:]), window, stride)
        members = windows.members()
        plan = self._net.plan(windows.rows, windows.columns, members, pixel, batch_size)
        return self._net.macs * len(members) / max(plan.macs, 1.0)

    def _known_drops(self, windows: Windows, pixel: tuple[int, int], fill: float) -> "_Drops":
        """The scores' drops for these windows as far as they were run before; the last few sets are kept."""
        key = (windows.window, windows.stride, tuple(pixel), fill)
        known = self._drops.pop(key, None) or _Drops(windows.shape, len(self.scores))
        self._drops[key] = known
        while len(self._drops) > KEPT:
            self._drops.popitem(last=False)
        return known

    def _exact(
        self,
        windows: Windows,
        members: list[tuple[int, int]],
        pixel: tuple[int, int],
        fill: float,
        batch_size: int,
    ) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
        """Drops of every class, batch by batch, from the clean image's activations."""
        if members:
            plan = self._net.plan(windows.rows, windows.columns, members, pixel, batch_size)
            for batch, changes in self._net.changes(plan, windows.rows, windows.columns, fill):
                yield batch, -changes.double().cpu().numpy()

    def _plain(
        self,
        windows: Windows,
        members: list[tuple[int, int]],
        pixel: tuple[int, int],
        fill: float,
        batch_size: int,
    ) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
        """The same by running the whole network for every window."""
        row, column = pixel
        for start in range(0, len(members), batch_size):
            batch = members[start : start + batch_size]
            images = self.image.repeat(len(batch), 1, 1, 1)
            for image, (i, j) in zip(images, batch):
                image[:, slice(*windows.rows[i]), slice(*windows.columns[j])] = fill
            with evaluation_mode(self.model), torch.inference_mode():
                scores = scores_of(self.model, images)[:, :, row, column].to(self.scores)
            yield batch, (self.scores[:, row, column] - scores).double().numpy()


class _Drops:
    """score(clean) − score(occluded) of every window and class, as far as run."""

    def __init__(self, shape: tuple[int, int], classes: int):
        self.drops, self.done = np.zeros((*shape, classes)), np.zeros(shape, bool)


def valid_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: tuple[int, int],
    target: int | None = None,
    window: int | tuple[int, int] = 32,
    stride: int | tuple[int, int] = 16,
    fill: int | float = 0.0,
    method: str = "exact",
    agreement: int | float = 0.95,
    threshold: int | float = 0.2,
    rule: str = "maximum",
    batch_size: int = 16,
    progress: bool = False,
) -> ValidField:
    """Occlude the image at every window and watch one score.

    For several pixels or classes of one image make an `Occlusion` and ask it: it keeps what they share.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: what the model takes (already normalised).
        pixel: (row, column) on the score map.
        target: class id; None for the class predicted there.
        window: side of the occluder, or (height, width), in pixels; at most the image.
        stride: steps between windows, in pixels; at most the window, or pixels would be skipped.
        fill: value of the occluder in all channels, in the units of `image`. 0 is the mean colour
            of a normalised image.
        method: "exact": from the clean image's activations; "drilldown": so for a part of the windows;
            "plain": the whole network is run for every window. What cannot be reused is run as
            it is; `Occlusion.note` tells.
        agreement: for "drilldown", the intersection over union wanted with the region of all
            windows, in (0, 1].
        threshold, rule: for "drilldown", those of that region.
        batch_size: windows at once, at most.
        progress: show a progress bar.

    Raises:
        ValueError: an argument is out of its range, or the scores are not finite; the message names it.
        TypeError: the model does not answer with a map of scores.
    """
    occlusion = Occlusion(model, image, reuse=method != "plain")
    return occlusion.field(
        pixel,
        target,
        window,
        stride,
        fill,
        method,
        agreement,
        threshold,
        rule,
        batch_size,
        progress,
    )
