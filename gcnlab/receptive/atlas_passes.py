"""The passes of an atlas: the drops of all units that are kept, for some windows.

The kept activations of the clean image serve all units at once (`gcnlab.receptive.incremental`):
outside of the forward cone of a window nothing is computed. There is no backward cone, since every
unit is read; so the cone's growth bounds the speed-up. At the score map it is as wide as the window
plus the receptive field, and where that is the whole image, the last layers are computed
everywhere.

The plain method runs the whole network for batches of occluded images. It is used for the first
picture, since it needs no graph of the network, and for networks where reuse fails or saves
nothing.

On a CPU, blocks of windows run at the same time, one for each of PyTorch's threads (`AT_ONCE` at
most).
"""

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.receptive.differences import Box
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.grid import OcclusionGrid, Window
from gcnlab.receptive.incremental import IncrementalNet, NotReusable
from gcnlab.receptive.plain import PlainNet
from gcnlab.receptive.selfcheck import tolerance_of

WORTH = 0.8
"""Reuse is given up if it needs at least this share of the plain method's multiply-adds."""

AT_ONCE = 4
"""Blocks of windows that are run at the same time on a CPU, at most: each needs memory of its own."""

Drops = Iterator[tuple[list[Window], Float[Tensor, "windows targets rows columns"]]]
"""Some windows with the drop of each class at each unit that is kept, on the CPU."""


class UnitReader:
    """Reads the classes and the units that an atlas keeps from score maps.

    Args:
        rows, columns: the positions of the units on the score map, ascending.
        classes: the class to read for each target and unit.
    """

    def __init__(
        self, rows: np.ndarray, columns: np.ndarray, classes: Int[Tensor, "targets rows columns"]
    ):
        self.rows, self.columns, self.classes = rows, columns, classes

    def everywhere(
        self, maps: Float[Tensor, "batch classes height width"]
    ) -> Float[Tensor, "batch targets rows columns"]:
        """The values at the units, from maps of the whole size."""
        return self._pick(maps, self.rows, self.columns, self.classes)

    def on(
        self, box: Box, maps: Float[Tensor, "batch classes height width"]
    ) -> Float[Tensor, "batch targets rows columns"]:
        """The values at the units, from the rectangle `box` of maps that are zero elsewhere; on
        the CPU."""
        inside = [
            slice(*np.searchsorted(at, interval))
            for at, interval in zip((self.rows, self.columns), box)
        ]
        rows, columns = (
            at[own] - start for at, own, (start, _) in zip((self.rows, self.columns), inside, box)
        )
        values = torch.zeros(len(maps), *self.classes.shape, dtype=maps.dtype)
        if len(rows) and len(columns):
            classes = self.classes[:, *inside]
            values[:, :, *inside] = self._pick(maps, rows, columns, classes).cpu()
        return values

    @staticmethod
    def _pick(maps: Tensor, rows: np.ndarray, columns: np.ndarray, classes: Tensor) -> Tensor:
        rows, columns = (torch.from_numpy(at).to(maps.device) for at in (rows, columns))
        units = maps[:, :, rows[:, None], columns]
        return units.gather(1, classes.to(maps.device).expand(len(maps), -1, -1, -1))


class AtlasPasses:
    """The network of an atlas on its image.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: (channels, height, width), the model's input.
        batch_size: largest number of windows per batch.
        reuse: reuse the activations of the clean image.
        graph: the network's graph for images of this size, or the error of recording it, if that
            was done before.

    Attributes:
        score_map: logits of the clean image, (classes, rows, columns), on the CPU.

    Raises:
        ValueError: the score map is not finite.
        TypeError: the model does not return a score map.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Float[Tensor, "channels height width"],
        batch_size: int,
        reuse: bool = True,
        graph: Graph | NotTraceable | None = None,
    ):
        self.model, self.image, self.batch_size, self.graph = model, image, batch_size, graph
        self._plain_net = PlainNet(model, image)
        self._net: IncrementalNet | None = None
        self._prepared, self._note = not reuse, ""
        self._tried_layout = False
        self.score_map = self._plain_net.score_map

    @property
    def note(self) -> str:
        """Why activations are not reused, which operations are run on the whole map, or what the
        plain method had to do; empty if there is nothing to report."""
        notes = [self._note, self._plain_net.note if self._net is None else ""]
        if self._net is not None and self._net.whole:
            layers = ", ".join(self._net.whole[:3]) + (" …" if self._net.whole[3:] else "")
            notes.append(f"computed on the whole map for every window from here on: {layers}")
        return "; ".join(filter(None, notes))

    @property
    def reuses(self) -> bool:
        """Whether `run` reuses the activations of the clean image."""
        return self._net is not None

    @property
    def unchecked(self) -> bool:
        """Whether `prepare` is going to compare reuse with the plain method."""
        checked = isinstance(self.graph, Graph) and self.graph.checked
        return not (self._prepared or checked)

    def unchanged(self, grid: OcclusionGrid, window: Window, fill: int | float | str) -> bool:
        """Whether the window leaves the image as it is, such as in padding."""
        net, (i, j) = self._plain_net, window
        place = slice(*grid.rows[i]), slice(*grid.columns[j])
        return torch.equal(net.image[:, *place], net.filling(grid, fill)[:, *place])

    def plain(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        reader: UnitReader,
        fill: int | float | str,
    ) -> Drops:
        """Run the whole network for some windows.

        Raises:
            ValueError: a logit is not finite.
        """
        if not windows:
            return
        self._choose_layout()
        clean = reader.everywhere(self.score_map[None].double())
        for batch, logits in self._plain_net.readings(
            grid, windows, reader.everywhere, fill, self.batch_size
        ):
            yield batch, clean - logits.double()

    def run(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        reader: UnitReader,
        fill: int | float | str,
    ) -> Drops:
        """Run some windows from the kept activations; by the plain method if that cannot be done.

        `prepare` comes first.

        Raises:
            ValueError: a logit is not finite.
        """
        done: set[Window] = set()
        try:
            for batch, drops in self._reused(grid, windows, reader, fill):
                # A drop is not finite if a value inside the network is infinite or consists of
                # rounding errors only.
                finite = torch.isfinite(drops.flatten(1)).all(1)
                batch = [window for window, good in zip(batch, finite.tolist()) if good]
                done.update(batch)
                if batch:
                    yield batch, drops[finite]
        except NotReusable as error:
            self._give_up(str(error))
        left = [window for window in windows if window not in done]
        yield from self.plain(grid, left, reader, fill)

    def prepare(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        reader: UnitReader,
        fill: int | float | str,
        plain: Float[Tensor, "windows targets rows columns"],
    ) -> Drops:
        """Record the network's graph, and compare reuse with the plain method on some windows.

        If the two disagree, all windows are run by the plain method from then on; a warning and
        `note` say so.

        Args:
            windows: the windows to compare; none if the graph has been compared before.
            plain: the drops of these windows, computed by the plain method.

        Yields:
            The windows that were compared, with their drops from the kept activations, if the two
            methods agree.
        """
        if self._prepared:
            return
        self._prepared = True
        try:
            self._net = IncrementalNet(self.model, self.image, self.graph)
        except (NotTraceable, NotReusable) as error:
            self._note = f"every window runs the whole network: {error}"
            return
        if why := self._why_not_worth_it(grid):
            self._net, self._note = None, f"every window runs the whole network: {why}"
            return
        if self._net.graph.checked:
            return
        found, number = torch.zeros_like(plain), {window: i for i, window in enumerate(windows)}
        try:
            for batch, drops in self._reused(grid, windows, reader, fill):
                found[[number[window] for window in batch]] = drops.to(found)
        except NotReusable as error:
            self._give_up(str(error))
            return
        finite = torch.isfinite(found.flatten(1)).all(1)  # `run` runs the others the plain way
        found = found[finite]
        if why := self._disagreement(found, plain[finite], reader):
            self._give_up(why)
            return
        self._net.graph.checked = True
        yield [window for window, good in zip(windows, finite.tolist()) if good], found

    def _reused(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        reader: UnitReader,
        fill: int | float | str,
    ) -> Drops:
        """Run some windows from the kept activations; nothing if there are none."""
        if self._net is None or not windows:
            return
        plan = self._net.plan(grid.rows, grid.columns, windows, None, self.batch_size)
        filling = self._plain_net.filling(grid, fill)
        at_once = min(AT_ONCE, torch.get_num_threads()) if filling.device.type == "cpu" else 1
        for batch, patch in self._net.patches(plan, grid.rows, grid.columns, filling, at_once):
            if patch is None:
                yield batch, torch.zeros(len(batch), *reader.classes.shape)
            else:
                yield batch, -reader.on(patch.box, patch.delta)

    def _why_not_worth_it(self, grid: OcclusionGrid) -> str:
        """Why the plain method is quicker for all windows; empty if it is not."""
        net = self._net
        if 2 * len(net.whole) > len(net.operations):
            return f"most operations are computed on the whole map ({net.whole[0]}, …)"
        windows = grid.windows()
        plan = net.plan(grid.rows, grid.columns, windows, None, self.batch_size)
        share = plan.macs / max(net.macs * len(windows), 1)
        if share >= WORTH:
            return f"reuse would save {max(0.0, 100 * (1 - share)):.0f} % of the multiply-adds"
        return ""

    def _disagreement(self, found: Tensor, expected: Tensor, reader: UnitReader) -> str:
        """Compare the two methods class by class, as `gcnlab.receptive.selfcheck` does; empty if
        they agree."""
        eps, largest = torch.finfo(self._plain_net.image.dtype).eps, _largest(self.score_map)
        clean = (self._net.score_map.cpu().to(self.score_map) - self.score_map).abs().amax((1, 2))
        for number in reader.classes.unique().tolist():
            own = reader.classes == number
            ours, theirs = found[:, own].double(), expected[:, own].double()
            difference = max(_largest(ours - theirs), clean[number].item())
            own_logit = _largest(self.score_map[number])
            tolerance = tolerance_of(_largest(theirs), own_logit, largest, eps)
            if difference > tolerance:
                return (
                    f"on {len(found)} windows the logits of class {number} from kept activations "
                    f"differ from the plain method by {difference:.2g}; the tolerance is "
                    f"{tolerance:.2g}"
                )
        return ""

    def _give_up(self, why: str) -> None:
        """Use the plain method from here on, and warn."""
        self._net.graph.unusable = why  # also for the next image
        self._net, self._note = None, f"every window runs the whole network: {why}"
        warnings.warn(
            f"{type(self.model).__name__}: {self._note}. The results are right, but slow to compute; "
            "please report this.",
            stacklevel=3,
        )

    def _choose_layout(self) -> None:
        """Keep occluded images channels-last in memory if the network takes such images: on a CPU
        its convolutions are then about twice as quick."""
        if self._tried_layout:
            return
        self._tried_layout = True
        image = self._plain_net.image[None].contiguous(memory_format=torch.channels_last)
        try:
            logits = self._plain_net.run(image)[0]
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # it reshapes its input without a copy, for example
            return
        if self._plain_net.equal(logits, self.score_map):
            self._plain_net.memory_format = torch.channels_last


def _largest(values: Tensor) -> float:
    return values.abs().max().item() if values.numel() else 0.0
