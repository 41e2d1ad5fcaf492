"""The valid receptive field, by occlusion (Zhou et al., ICLR 2015; the paper's Figure 3).

A small occluder covers the image at each position of a grid; one position of it is a *window*. The
drop of the logit of one unit, or of its margin or probability (`gcnlab.receptive.quantity`), is
measured for each window. The *discrepancy* of a pixel is the mean drop over the windows that cover
it (`gcnlab.receptive.grid`). The thresholded map is the region that drives the unit.

Three methods compute the map:

- "plain" runs the whole network for every window (`gcnlab.receptive.plain`);
- "exact" computes the same numbers from the clean image's activations
  (`gcnlab.receptive.incremental`);
- "drilldown" does the same for some of the windows: coarsely everywhere, finely along the region's
  edge (`gcnlab.receptive.drilldown`).

The first field of a network is compared with the plain method on a few windows. If the two
disagree, if an operation fails, or if the network cannot be recorded as a graph, the plain method
is used from then on, and the field's note says so.
"""

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pair, Pixel, Whole, pixel_of, whole
from gcnlab.receptive.drilldown import drill_down
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.grid import OcclusionGrid, Window
from gcnlab.receptive.incremental import IncrementalNet, NotReusable
from gcnlab.receptive.plain import PlainNet
from gcnlab.receptive.quantity import drop_of, value_of
from gcnlab.receptive.selfcheck import CHECKED, SelfCheck, compare_with_plain
from gcnlab.receptive.settings import OcclusionSettings
from gcnlab.receptive.unit import check_finite, check_image, locate, middle_pixel
from gcnlab.receptive.validfield import ValidField

ProgressCallback = Callable[[float], None]
"""A function that is called after every batch with the share, 0 … 1, of the windows needed for the
next field that have been run. An exception that it raises cancels the computation."""

KEPT = 8
"""Number of grids of which an `Occlusion` keeps the drops."""

Batches = Iterator[tuple[list[Window], np.ndarray]]
"""Batches of windows with the drop of every class, (windows, classes)."""


class Occlusion:
    """Valid receptive fields of one network on one image, for any pixel, class and occluder.

    The activations of the clean image are kept between calls, and so are the results of the latest
    windows: another class, quantity or threshold, or a finer drill-down at the same pixel, runs only
    the windows that are new.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was. Its weights
            must not change while this object is used.
        image: (channels, height, width), the model's input (already normalised).
        reuse: reuse the activations of the clean image. If False, or if the network cannot be
            recorded as a graph, every method runs the whole network for every window.
        graph: the network's graph for images of this size, or the error of recording it, if that
            was done before; None records it.

    Attributes:
        score_map: logits of the clean image, (classes, rows, columns), on the CPU.

    Raises:
        ValueError: the image is not one image, or its score map is not finite.
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
            self.score_map = self._plain_net.score_map
        else:
            logits = self._net.score_map
            check_finite(logits)
            self.score_map = logits.cpu().to(torch.promote_types(logits.dtype, torch.float32))

    @property
    def note(self) -> str:
        """Why activations are not reused, which operations are run on the whole map, or what the
        plain method had to do; empty if there is nothing to report, as with `reuse=False`."""
        notes = [self._note, self._plain_net.note if self._net is None else ""]
        if self._net is not None and self._net.whole:
            layers = ", ".join(self._net.whole[:3]) + (" …" if self._net.whole[3:] else "")
            mostly = 2 * len(self._net.whole) > len(self._net.operations)
            faster = ' (which is most of the network: method="plain" is faster)' if mostly else ""
            notes.append(
                f"computed on the whole map for every window from here on: {layers}{faster}"
            )
        return "; ".join(filter(None, notes))

    def field(
        self,
        pixel: Pixel,
        target: Whole | None = None,
        settings: OcclusionSettings | None = None,
        progress: bool = False,
    ) -> ValidField:
        """The valid field of one unit.

        Args:
            pixel: (row, column) on the score map.
            target: class id; None for the class predicted there.
            settings: occluder and method; None for the defaults.
            progress: show a progress bar.

        Raises:
            ValueError: an argument is out of its range; the message names it.
        """
        for field in self.steps(pixel, target, settings, progress):  # noqa: B007
            pass
        return field

    def steps(
        self,
        pixel: Pixel,
        target: Whole | None = None,
        settings: OcclusionSettings | None = None,
        progress: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[ValidField]:
        """The valid field of one unit as a series of increasingly fine fields; the last is the
        result.

        The method "drilldown" yields its first field after a few windows; the others yield one
        field.

        To cancel, stop iterating, or raise an exception in `on_progress`. The windows that were run
        are kept.

        Args:
            pixel, target, settings, progress: see `field`.
            on_progress: called after every batch.

        Raises:
            ValueError: an argument is out of its range; the message names it.
        """
        settings = settings or OcclusionSettings()
        pixel, grid = pixel_of(pixel), self._grid(settings)
        locate(self.score_map, pixel, target)
        if settings.method != "plain" and self._net is not None and not self._net.graph.checked:
            self.self_check(pixel, settings)
        target = locate(self.score_map, pixel, target)
        clean = self.score_map[:, pixel[0], pixel[1]]
        score = value_of(clean, target, settings.quantity).item()
        known = self._known_drops(grid, pixel, settings)

        def field(drops: np.ndarray, agreement: float) -> ValidField:
            return ValidField(
                discrepancy=grid.spread(torch.from_numpy(drops)),
                pixel=pixel,
                target=target,
                score=score,
                window=grid.window,
                stride=grid.stride,
                fill=settings.fill,
                evaluated=known.done.mean().item(),
                agreement=agreement,
                note=self._field_note(pixel, settings.method),
                quantity=settings.quantity,
                centre=self._centre(pixel),
            )

        with tqdm(total=math.prod(grid.shape), desc="occlude", disable=not progress) as bar:

            def run(windows: list[Window]) -> np.ndarray:
                missing = [window for window in windows if not known.done[window]]
                bar.update(len(windows) - len(missing))
                done = 0
                for batch, drops in self._run(grid, missing, pixel, settings):
                    index = tuple(np.array(batch).T)
                    known.drops[index], known.done[index] = drops, True
                    bar.update(len(batch))
                    done += len(batch)
                    if on_progress is not None:
                        on_progress(done / len(missing))
                drops = torch.from_numpy(known.drops[tuple(np.array(windows).T)])
                return drop_of(clean, drops, target, settings.quantity).numpy()

            if settings.method == "drilldown":
                for drops, agreement in drill_down(grid, run, settings):
                    yield field(drops, agreement)
            else:
                yield field(run(grid.windows()).reshape(grid.shape), 1.0)

    def drops(
        self, pixel: Pixel, settings: OcclusionSettings | None = None
    ) -> Float[Tensor, "rows columns classes"]:
        """The drop of every class's logit for each window of the grid, clean − occluded.

        `OcclusionGrid.spread` makes the discrepancy from the drops of one class, and
        `gcnlab.receptive.quantity.drop_of` those of the margin or the probability.

        Args:
            pixel: (row, column) on the score map.
            settings: occluder and method; None for the defaults. All windows are run; "drilldown"
                is the same as "exact" here.

        Raises:
            ValueError: an argument is out of its range; the message names it.
        """
        settings = settings or OcclusionSettings()
        pixel, grid = pixel_of(pixel), self._grid(settings)
        if settings.method == "drilldown":
            settings = replace(settings, method="exact")
        self.field(pixel, None, settings)
        known = self._known_drops(grid, pixel, settings)
        # Windows are missing only if the reuse of activations was given up during the field.
        missing = [window for window in grid.windows() if not known.done[window]]
        for batch, drops in self._run(grid, missing, pixel, settings):
            index = tuple(np.array(batch).T)
            known.drops[index], known.done[index] = drops, True
        return torch.from_numpy(known.drops.copy())

    def self_check(
        self, pixel: Pixel, settings: OcclusionSettings | None = None, count: Whole = CHECKED
    ) -> SelfCheck:
        """Run some windows twice: from the kept activations, and through the whole network.

        The first field of a network does this on its own. If the two disagree, all later fields use
        the plain method; a warning and `note` say so.

        Args:
            pixel: (row, column) on the score map.
            settings: the occluder; None for the defaults.
            count: number of windows, spread over the image, one of them at the pixel; at most all.

        Returns:
            The comparison. If no activations are reused, no window is run, and the two agree.

        Raises:
            ValueError: an argument is out of its range; the message names it.
        """
        settings = settings or OcclusionSettings()
        count, pixel = whole("count", count, 1), pixel_of(pixel)
        grid = self._grid(settings)
        locate(self.score_map, pixel, None)
        windows = grid.sample(count, self._centre(pixel))
        if self._net is None:
            return SelfCheck(0, 0.0, 0.0)
        exact = {}
        try:
            for batch, drops in self._run_exact(grid, windows, pixel, settings.fill, len(windows)):
                exact.update(zip(batch, -drops))
        except NotReusable as error:
            self._stop_reuse(str(error))
            return SelfCheck(0, 0.0, 0.0)
        changes = np.stack([exact[window] for window in windows])
        images = self._plain_net.occluded(grid, windows, settings.fill)
        found = compare_with_plain(self.score_map, changes, self._plain_net, images, pixel)
        self._net.graph.checked = True
        if not found.agrees:
            self._stop_reuse(
                f"on {found.windows} windows the field from kept activations differs from the plain "
                f"method by {found.difference:.2g}; the tolerance is {found.tolerance:.2g}"
            )
        return found

    def savings(self, pixel: Pixel, settings: OcclusionSettings | None = None) -> float:
        """Multiply-adds of the convolutions of the plain method, divided by those of "exact".

        This is the largest speed-up that reuse can give if both methods compute as many
        multiply-adds per second. Nothing is run.
        """
        if self._net is None:
            return 1.0
        settings = settings or OcclusionSettings()
        pixel, grid = pixel_of(pixel), self._grid(settings)
        windows = grid.windows()
        plan = self._net.plan(grid.rows, grid.columns, windows, pixel, settings.batch_size)
        return self._net.macs * len(windows) / max(plan.macs, 1.0)

    def _grid(self, settings: OcclusionSettings) -> OcclusionGrid:
        return OcclusionGrid(tuple(self.image.shape[-2:]), settings.window, settings.stride)

    def _stop_reuse(self, why: str) -> None:
        """Use the plain method from here on, and warn."""
        self._net.graph.unusable = why  # also for the next image
        self._note = f"every window runs the whole network: {why}"
        warnings.warn(
            f"{type(self.model).__name__}: {self._note}. The results are right, but slow to compute; "
            "please report this.",
            stacklevel=3,
        )
        self._net = None
        self._drops.clear()
        self.score_map = self._plain_net.score_map

    def _centre(self, pixel: tuple[int, int]) -> tuple[int, int]:
        """The pixel of the image in the middle of a unit."""
        return middle_pixel(pixel, tuple(self.image.shape[-2:]), tuple(self.score_map.shape[-2:]))

    def _field_note(self, pixel: tuple[int, int], method: str) -> str:
        """The note of a field: what was not reused, and where on the image the unit is, if the
        score map has another size."""
        image_size, map_size = tuple(self.image.shape[-2:]), tuple(self.score_map.shape[-2:])
        notes = [self._plain_net.note if method == "plain" else self.note]
        if image_size != map_size:
            (rows, columns), (height, width) = map_size, image_size
            row, column = self._centre(pixel)
            notes.append(
                f"the score map is {rows}×{columns} for an image of {height}×{width}: unit "
                f"{pixel} is at row {row}, column {column} of the image"
            )
        return "; ".join(filter(None, notes))

    def _known_drops(
        self, grid: OcclusionGrid, pixel: tuple[int, int], settings: OcclusionSettings
    ) -> "_Drops":
        """The drops of this grid's windows that have been run; those of the latest few grids are
        kept."""
        key = (grid.window, grid.stride, pixel, settings.fill, settings.method == "plain")
        known = self._drops.pop(key, None) or _Drops(grid.shape, len(self.score_map))
        self._drops[key] = known
        while len(self._drops) > KEPT:
            self._drops.popitem(last=False)
        return known

    def _run(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        pixel: tuple[int, int],
        settings: OcclusionSettings,
    ) -> Batches:
        """Run windows; those that fail with the kept activations are run by the plain method."""
        done: set[Window] = set()
        fill, batch_size = settings.fill, settings.batch_size
        if settings.method != "plain" and self._net is not None:
            try:
                for batch, drops in self._run_exact(grid, windows, pixel, fill, batch_size):
                    finite = np.isfinite(drops).all(1)
                    # A drop is not finite if a value inside the network is infinite (a mask of −∞)
                    # or consists of rounding errors only.
                    batch = [window for window, good in zip(batch, finite) if good]
                    done.update(batch)
                    if batch:
                        yield batch, drops[finite]
            except NotReusable as error:
                self._stop_reuse(str(error))
        left = [window for window in windows if window not in done]
        yield from self._run_plain(grid, left, pixel, fill, batch_size)

    def _run_exact(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        pixel: tuple[int, int],
        fill: float | str,
        batch_size: int,
    ) -> Batches:
        """Run windows from the activations of the clean image."""
        if windows:
            plan = self._net.plan(grid.rows, grid.columns, windows, pixel, batch_size)
            filling = self._plain_net.filling(grid, fill)
            for batch, changes in self._net.changes(plan, grid.rows, grid.columns, filling):
                yield batch, -changes.double().cpu().numpy()

    def _run_plain(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        pixel: tuple[int, int],
        fill: float | str,
        batch_size: int,
    ) -> Batches:
        """Run the whole network for every window."""
        if windows:
            for batch, changes in self._plain_net.changes(grid, windows, pixel, fill, batch_size):
                yield batch, -changes.numpy()


class _Drops:
    """logit(clean) − logit(occluded) of each window and class, where the window has been run."""

    def __init__(self, shape: tuple[int, int], classes: int):
        self.drops, self.done = np.zeros((*shape, classes)), np.zeros(shape, bool)


def valid_field(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    pixel: Pixel,
    target: Whole | None = None,
    window: Pair = 32,
    stride: Pair = 16,
    fill: int | float | str = 0.0,
    method: str = "exact",
    agreement: int | float = 0.95,
    threshold: int | float | None = None,
    rule: str | None = None,
    quantity: str = "logit",
    batch_size: Whole = 16,
    progress: bool = False,
) -> ValidField:
    """Occlude the image at every position of a grid, and measure the drop at one unit.

    For several pixels or classes of one image, use an `Occlusion`: it keeps activations and drops.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: the model's input (already normalised).
        pixel: (row, column) on the score map.
        target: class id; None for the class predicted there.
        window: side of the occluder, or (height, width), in pixels; at most the image's.
        stride: distance between neighbouring windows, in pixels; at most the window's side.
        fill: what the occluder shows. A number: this value in all channels, in the units of
            `image`; 0 is the mean colour of a normalised data set. "mean": the mean colour of the
            image; "blur": the image without its details; "noise": random pixels
            (`gcnlab.receptive.fills`).
        method: "exact": compute every window from the activations of the clean image; "drilldown":
            do so for some of the windows; "plain": run the whole network for every window. An
            operation that cannot be reused is run on its whole input; the field's `note` names it.
        agreement: for "drilldown", the intersection over union to reach with the region of all
            windows, in (0, 1].
        threshold, rule: definition of that region, for "drilldown" (`gcnlab.receptive.regions`).
        quantity: what is measured: the "logit" of the class, its "margin" to the largest other
            logit, or its softmax "probability" (`gcnlab.receptive.quantity`).
        batch_size: largest number of windows per batch.
        progress: show a progress bar.

    Raises:
        ValueError: an argument is out of its range, or the score map is not finite; the message
            names it.
        TypeError: the model does not return a score map.
    """
    settings = OcclusionSettings(
        window=window,
        stride=stride,
        fill=fill,
        method=method,
        agreement=agreement,
        threshold=threshold,
        rule=rule,
        quantity=quantity,
        batch_size=batch_size,
    )
    return Occlusion(model, image, reuse=method != "plain").field(pixel, target, settings, progress)
