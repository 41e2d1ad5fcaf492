"""The valid receptive field, by occlusion (Zhou et al., ICLR 2015; the paper's Figure 3).

A small occluder is laid on the image at each position of a grid; how much the score of one unit drops is
the discrepancy of the pixels beneath it. Thresholded, the map is the region that really drives the unit.

A pixel's discrepancy is the mean over the windows that cover it (`gcnlab.receptive.windows`).

Three methods give the map:

- "plain" runs the whole network for every window (`gcnlab.receptive.plain`);
- "exact" computes the same numbers from the clean image's activations (`gcnlab.receptive.incremental`);
- "drilldown" does so for a part of the windows: coarsely everywhere, finely where the region's edge runs
  (`gcnlab.receptive.drilldown`).

The first field of a network is held against the plain way on a few windows. Where they disagree, where an
operation fails, and where the network cannot be exported as a graph, all goes on the plain way, and the field's
note says so.
"""

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pair, Pixel, Whole, number, pixel_of, whole
from gcnlab.receptive.drilldown import drill_down
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.incremental import IncrementalNet, NotReusable
from gcnlab.receptive.plain import PlainNet
from gcnlab.receptive.selfcheck import CHECKED, Check, hold_against_plain
from gcnlab.receptive.unit import check_image, check_scores, locate, middle_pixel
from gcnlab.receptive.validfield import ValidField
from gcnlab.receptive.windows import Windows

METHODS = ("plain", "exact", "drilldown")
Watch = Callable[[float], None]
"""A callback. It gets the share, 0 … 1, of the windows still missing for the next field that have now been run. An
exception raised in it cancels the work."""

KEPT = 8
"""Sets of windows whose drops an `Occlusion` remembers."""


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
        graph: of the network for images of this size, or why there is none, to save exporting it again.

    Attributes:
        scores: of the clean image, (classes, rows, columns), on the CPU.

    Raises:
        ValueError: the image is not one image, or its scores are not finite.
        TypeError: the model does not return a score map.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Float[Tensor, "channels height width"],
        reuse: bool = True,
        graph: Graph | NotTraceable | None = None,
    ):
        check_image(image)
        self.model, self.image = model, image.detach()
        self._plain_net = PlainNet(model, self.image)
        self._net: IncrementalNet | None = None
        self._note = ""
        self._drops: OrderedDict[tuple, _Drops] = OrderedDict()
        if reuse:
            try:
                self._net = IncrementalNet(model, self.image, graph)
            except (NotTraceable, NotReusable) as error:
                self._note = f"every window runs the whole network: {error}"
        if self._net is None:
            self.scores = self._plain_net.scores
        else:
            scores = self._net.scores
            check_scores(scores)
            self.scores = scores.cpu().to(torch.promote_types(scores.dtype, torch.float32))

    @property
    def note(self) -> str:
        """Why activations are not reused, which operations are run on the whole map, or what the plain way had to do; empty
        if there is nothing to say, also with `reuse=False`."""
        notes = [self._note, self._plain_net.note if self._net is None else ""]
        if self._net is not None and self._net.whole:
            layers = ", ".join(self._net.whole[:3]) + (" …" if self._net.whole[3:] else "")
            mostly = 2 * len(self._net.whole) > len(self._net.operations)
            quicker = ' (which is most of the network: method="plain" is quicker)' if mostly else ""
            notes.append(
                f"computed on the whole map for every window from here on: {layers}{quicker}"
            )
        return "; ".join(filter(None, notes))

    def check(
        self,
        pixel: Pixel,
        window: Pair = 32,
        stride: Pair = 16,
        fill: int | float = 0.0,
        count: Whole = CHECKED,
    ) -> Check:
        """Run some windows both ways: from the kept activations, and through the whole network.

        The first field of a network makes this check by itself. If the two disagree, all fields go on the
        plain way from here on, with a warning; `note` says so.

        Args:
            pixel: (row, column) on the score map.
            window, stride, fill: see `valid_field`.
            count: windows, spread over the image, the one at the pixel among them; at most all.

        Returns:
            What was found. If nothing is reused, no window is run, and the ways agree.

        Raises:
            ValueError: an argument is out of its range; the message names it.
        """
        count, pixel = whole("count", count, 1), pixel_of(pixel)
        size, map_size = tuple(self.image.shape[-2:]), tuple(self.scores.shape[-2:])
        windows = Windows(size, window, stride)
        locate(self.scores, pixel, None)
        members = windows.some(count, middle_pixel(pixel, size, map_size))
        if self._net is None:
            return Check(0, 0.0, 0.0)
        exact = {}
        try:
            for batch, drops in self._exact(windows, members, pixel, fill, len(members)):
                exact.update(zip(batch, -drops))
        except NotReusable as error:
            self._give_up_reuse(str(error))
            return Check(0, 0.0, 0.0)
        changes = np.stack([exact[member] for member in members])
        images = self._plain_net.occluded(windows, members, fill)
        found = hold_against_plain(self.scores, changes, self._plain_net, images, pixel)
        self._net.graph.checked = True
        if not found.agrees:
            self._give_up_reuse(
                f"on {found.windows} windows the field from kept activations differs from the plain way by "
                f"{found.difference:.2g}; the tolerance is {found.tolerance:.2g}"
            )
        return found

    def _give_up_reuse(self, why: str) -> None:
        """Go on the plain way, and say so."""
        self._net.graph.unusable = why  # for the next image, too
        self._note = f"every window runs the whole network: {why}"
        warnings.warn(
            f"{type(self.model).__name__}: {self._note}. The results are right, but slow; please report this.",
            stacklevel=3,
        )
        self._net = None
        self._drops.clear()
        self.scores = self._plain_net.scores

    def field(
        self,
        pixel: Pixel,
        target: Whole | None = None,
        window: Pair = 32,
        stride: Pair = 16,
        fill: int | float = 0.0,
        method: str = "exact",
        agreement: int | float = 0.95,
        threshold: int | float = 0.2,
        rule: str = "maximum",
        batch_size: Whole = 16,
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
        pixel: Pixel,
        target: Whole | None = None,
        window: Pair = 32,
        stride: Pair = 16,
        fill: int | float = 0.0,
        method: str = "drilldown",
        agreement: int | float = 0.95,
        threshold: int | float = 0.2,
        rule: str = "maximum",
        batch_size: Whole = 16,
        progress: bool = False,
        watch: Watch | None = None,
    ) -> Iterator[ValidField]:
        """The valid field of one unit, as a series of fields that get finer; the last one is the result.

        The arguments are those of `valid_field`, but the default method is "drilldown", which yields its first field
        after a few windows. The other methods yield one field.

        To cancel, stop iterating, or raise an exception in `watch`, which is called after every batch with the share
        of the missing windows of the next field that have been run: what was run is kept.
        """
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; choose {', '.join(METHODS)}")
        batch_size, fill = whole("batch_size", batch_size, 1), number("fill", fill)
        if isinstance(fill, int) and abs(fill) > 1e38:
            raise ValueError("fill must be a number that an image can hold, up to 1e38")
        pixel, size = pixel_of(pixel), tuple(self.image.shape[-2:])
        windows = Windows(size, window, stride)
        locate(self.scores, pixel, target)
        if method != "plain" and self._net is not None and not self._net.graph.checked:
            self.check(pixel, window, stride, fill)
        target = locate(self.scores, pixel, target)
        known = self._known_drops(windows, pixel, fill, method)

        def field(drops: np.ndarray, agreed: float) -> ValidField:
            return ValidField(
                discrepancy=windows.spread(torch.from_numpy(drops)),
                pixel=pixel,
                target=target,
                score=self.scores[target, pixel[0], pixel[1]].item(),
                window=windows.window,
                stride=windows.stride,
                fill=fill,
                evaluated=known.done.mean().item(),
                agreement=agreed,
                note=self._field_note(pixel, method),
            )

        with tqdm(total=math.prod(windows.shape), desc="occlude", disable=not progress) as bar:

            def run(members: list[tuple[int, int]]) -> np.ndarray:
                missing = [member for member in members if not known.done[member]]
                bar.update(len(members) - len(missing))
                done = 0
                for batch, drops in self._run(windows, missing, pixel, fill, method, batch_size):
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
        pixel: Pixel,
        window: Pair = 32,
        stride: Pair = 16,
        batch_size: Whole = 16,
    ) -> float:
        """Multiply-adds of the convolutions when the whole network is run for every window, over those of "exact".

        This bounds what reuse can win, if both run at the same multiply-adds per second. Nothing is run.
        """
        if self._net is None:
            return 1.0
        windows = Windows(tuple(self.image.shape[-2:]), window, stride)
        pixel, batch_size = pixel_of(pixel), whole("batch_size", batch_size, 1)
        members = windows.members()
        plan = self._net.plan(windows.rows, windows.columns, members, pixel, batch_size)
        return self._net.macs * len(members) / max(plan.macs, 1.0)

    def _field_note(self, pixel: tuple[int, int], method: str) -> str:
        """The note of a field: what was not reused, and where its unit lies if map and image differ in size."""
        size, map_size = tuple(self.image.shape[-2:]), tuple(self.scores.shape[-2:])
        notes = [self._plain_net.note if method == "plain" else self.note]
        if size != map_size:
            (rows, columns), (height, width) = map_size, size
            row, column = middle_pixel(pixel, size, map_size)
            notes.append(
                f"the score map is {rows}×{columns} for an image of {height}×{width}: unit {pixel} lies at "
                f"row {row}, column {column} of the image"
            )
        return "; ".join(filter(None, notes))

    def _known_drops(
        self, windows: Windows, pixel: tuple[int, int], fill: int | float, method: str
    ) -> "_Drops":
        """The scores' drops for these windows as far as they were run before; the last few sets are kept."""
        key = (windows.window, windows.stride, pixel, fill, method == "plain")
        known = self._drops.pop(key, None) or _Drops(windows.shape, len(self.scores))
        self._drops[key] = known
        while len(self._drops) > KEPT:
            self._drops.popitem(last=False)
        return known

    def _run(
        self,
        windows: Windows,
        members: list[tuple[int, int]],
        pixel: tuple[int, int],
        fill: int | float,
        method: str,
        batch_size: int,
    ) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
        """Drops of every class, batch by batch; what fails from kept activations goes on the plain way."""
        done: set[tuple[int, int]] = set()
        if method != "plain" and self._net is not None:
            try:
                for batch, drops in self._exact(windows, members, pixel, fill, batch_size):
                    good = np.isfinite(drops).all(1)
                    # No number: infinite inside (a mask of −∞), or nothing but rounding. Run the plain way.
                    batch = [member for member, finite in zip(batch, good) if finite]
                    done.update(batch)
                    if batch:
                        yield batch, drops[good]
            except NotReusable as error:
                self._give_up_reuse(str(error))
        left = [member for member in members if member not in done]
        yield from self._plainly(windows, left, pixel, fill, batch_size)

    def _exact(
        self,
        windows: Windows,
        members: list[tuple[int, int]],
        pixel: tuple[int, int],
        fill: int | float,
        batch_size: int,
    ) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
        """Drops of every class, batch by batch, from the clean image's activations."""
        if members:
            plan = self._net.plan(windows.rows, windows.columns, members, pixel, batch_size)
            for batch, changes in self._net.changes(plan, windows.rows, windows.columns, fill):
                yield batch, -changes.double().cpu().numpy()

    def _plainly(
        self,
        windows: Windows,
        members: list[tuple[int, int]],
        pixel: tuple[int, int],
        fill: int | float,
        batch_size: int,
    ) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
        """The same by running the whole network for every window."""
        if members:
            for batch, changes in self._plain_net.changes(
                windows, members, pixel, fill, batch_size
            ):
                yield batch, -changes.numpy()


class _Drops:
    """score(clean) − score(occluded) of every window and class, as far as run."""

    def __init__(self, shape: tuple[int, int], classes: int):
        self.drops, self.done = np.zeros((*shape, classes)), np.zeros(shape, bool)


def valid_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: Pixel,
    target: Whole | None = None,
    window: Pair = 32,
    stride: Pair = 16,
    fill: int | float = 0.0,
    method: str = "exact",
    agreement: int | float = 0.95,
    threshold: int | float = 0.2,
    rule: str = "maximum",
    batch_size: Whole = 16,
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
            "plain": the whole network is run for every window. An operation that cannot be
            reused is run on its whole input; the `note` of the returned field names it.
        agreement: for "drilldown", the intersection over union wanted with the region of all
            windows, in (0, 1].
        threshold, rule: for "drilldown", those of that region.
        batch_size: windows at once, at most.
        progress: show a progress bar.

    Raises:
        ValueError: an argument is out of its range, or the scores are not finite; the message names it.
        TypeError: the model does not return a score map.
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
