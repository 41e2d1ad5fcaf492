"""Show a run in progress: loss, images per second, time left, TensorBoard logs, sample predictions.

A loss is a number on the device. Reading it waits until the device has finished, so on a GPU it is
read only every few steps; meanwhile the next steps are already queued.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Tensor, UInt8
from gcnlab.distributed import all_reduce_sum, is_primary
from gcnlab.training.optimization import learning_rate
from gcnlab.training.runs import mean_of_last
from gcnlab.training.state import RunState

READ_EVERY = {"cpu": 1}
"""Steps between readings of the loss, by type of device; 20 on all others."""

OnStep = Callable[[int, int, float], None]
OnSamples = Callable[[int, Tensor], None]


class Diverged(ArithmeticError):
    """A loss or gradient is NaN or infinite.

    Attributes:
        step: the step, from 0.
        loss, norm: the loss and the norm of the gradient.
    """

    def __init__(self, step: int, loss: float, norm: float):
        super().__init__(f"step {step + 1}: loss {loss}, gradient norm {norm}")
        self.step, self.loss, self.norm = step, loss, norm


class Monitor:
    """Collect the losses of a run and show its progress. Only rank 0 shows anything.

    Args:
        state: the run; its `losses` grow.
        folder: folder of the run; None: nothing is written.
        tensorboard: write logs to `folder`/tensorboard.
        progress: show a progress bar.
        on_step, on_samples: see `train`.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
        ValueError: TensorBoard without a folder.
    """

    def __init__(
        self,
        state: RunState,
        folder: Path | None = None,
        tensorboard: bool = False,
        progress: bool = True,
        on_step: OnStep | None = None,
        on_samples: OnSamples | None = None,
    ):
        self.settings, self.steps, self.folder = state.config.training, state.steps, folder
        self.losses = state.losses
        primary = is_primary()
        self.on_step, self.on_samples = (on_step, on_samples) if primary else (None, None)
        self._every = READ_EVERY.get(state.device.type, 20)
        self._overflow_is_fine = state.scaler.is_enabled()  # the scaler skips that step
        self._unread: list[Tensor] = []
        self._log = _writer(folder, state.step) if tensorboard and primary else None
        self._bar = tqdm(
            total=state.steps,
            initial=state.step,
            desc="train",
            unit="step",
            disable=not (progress and primary),
        )
        self._speed, self._since = 0.0, time.perf_counter()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self._log is not None:
            self._log.close()

    def add(self, loss: Float[Tensor, ""], norm: Float[Tensor, ""]) -> None:
        """Record this rank's share of a loss, and the norm of the gradient, without waiting."""
        self._unread.append(torch.stack([loss.float(), norm.float()]))

    @property
    def due(self) -> bool:
        """Whether the recorded losses should be read now."""
        return len(self._unread) >= self._every

    def read(self) -> None:
        """Read the recorded losses and show them. All ranks have to read after the same step.

        Raises:
            Diverged: a loss is NaN or infinite; `losses` ends with the step before it.
        """
        if not self._unread:
            return
        values = torch.stack(self._unread)
        self._unread = []
        losses, norms = all_reduce_sum(values[:, 0].contiguous()).tolist(), values[:, 1].tolist()
        self._measure(len(losses))
        for loss, norm in zip(losses, norms):
            step = len(self.losses)
            if not math.isfinite(loss) or not (math.isfinite(norm) or self._overflow_is_fine):
                raise Diverged(step, loss, norm)
            self.losses.append(loss)
            self._show(step, loss)

    def _measure(self, steps: int) -> None:
        now = time.perf_counter()
        speed = steps * self.settings.batch_size / (now - self._since)
        self._speed = speed if not self._speed else 0.9 * self._speed + 0.1 * speed
        self._since = now

    def _show(self, step: int, loss: float) -> None:
        self._bar.update()
        mean = f"{mean_of_last(self.losses):.3f}"
        self._bar.set_postfix({"loss": mean, "img/s": f"{self._speed:.3g}"}, refresh=False)
        if self._log is not None:
            rate = learning_rate(self.settings, step, self.steps)
            values = {"loss": loss, "learning_rate": rate, "images_per_s": self._speed}
            for name, value in values.items():
                self._log.add_scalar(f"train/{name}", value, step + 1)
        if self.on_step is not None:
            self.on_step(step + 1, self.steps, loss)

    def show_score(self, score: float) -> None:
        """Show a score on the val split, in percent."""
        if not self._bar.disable:
            self._bar.write(f"step {len(self.losses)}: val {score:.1f} %")
        if self._log is not None:
            self._log.add_scalar("val/score", score, len(self.losses))

    def show_samples(self, picture: UInt8[Tensor, "3 height width"]) -> None:
        """Show predictions: in samples/step-….png, in TensorBoard, and to `on_samples`."""
        step = len(self.losses)
        if self.folder is not None:
            path = self.folder / "samples" / f"step-{step:08d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
        if self._log is not None:
            self._log.add_image("val/predictions", picture, step)
        if self.on_samples is not None:
            self.on_samples(step, picture)

    def restart_clock(self) -> None:
        """Exclude the time since the last reading from the images per second."""
        self._since = time.perf_counter()


def _writer(folder: Path | None, start: int):
    if folder is None:
        raise ValueError("execution.tensorboard needs a folder for the run")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "execution.tensorboard needs the package tensorboard: pip install 'gcnlab[log]'"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
