"""Train on the features of a frozen backbone, which are computed once and kept on disk.

A frozen backbone gives the same feature maps for the same image, so a training of heads and decoder
can read them from a file. If only the first layers are frozen, the file holds their maps, and what
follows is computed from the last of them. The maps of an image are packed into one tensor of the
size of the coarsest: a map at stride 4 has 8×8 values where that at stride 32 has one, and these
become channels (pixel unshuffle). The file holds half-precision values, at most 5·10⁻⁴ of a value apart from those
that a full forward pass gives.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Tensor
from gcnlab.datasets.copies import FixedCopies
from gcnlab.devices import without_tf32
from gcnlab.models import SegmentationNet
from gcnlab.models.cut import continue_from, first_maps, first_stages
from gcnlab.models.logits import device_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.training.checkpoint import fingerprint

STRIDE = 32
"""Height and width of an image must be multiples of it: the stride of the coarsest map, in pixels."""
KEY, FEATURES, LABELS = "key.json", "features.npy", "labels.npy"
_SAVE_EVERY = 256  # images


def cache_root() -> Path:
    """The folder of cached features: the environment variable GCNLAB_CACHE, or ~/.cache/gcnlab."""
    folder = os.environ.get("GCNLAB_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "gcnlab"


def pack(
    features: list[Float[Tensor, "batch _ _ _"]],
) -> Float[Tensor, "batch channels rows columns"]:
    """Pack the feature maps of an image into one tensor of the size of the coarsest."""
    rows = features[-1].shape[-2]
    return torch.cat([F.pixel_unshuffle(f, f.shape[-2] // rows) for f in features], dim=1)


def unpack(
    packed: Float[Tensor, "batch channels rows columns"],
    channels: tuple[int, ...],
    strides: tuple[int, ...],
) -> list[Float[Tensor, "batch _ _ _"]]:
    """Undo `pack`.

    Args:
        channels, strides: those of the feature maps.
    """
    factors = [strides[-1] // stride for stride in strides]
    parts = packed.split([c * factor**2 for c, factor in zip(channels, factors)], dim=1)
    return [F.pixel_shuffle(part, factor) for part, factor in zip(parts, factors)]


class OnFeatures(nn.Module):
    """What follows the frozen layers of a network, as a network of packed features: the rest of the
    backbone, the heads and the decoder.

    Args:
        model: the whole network, with frozen layers.
    """

    def __init__(self, model: SegmentationNet):
        super().__init__()
        self.model = model

    def forward(
        self, packed: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch classes height width"]:
        backbone, maps = self.model.backbone, self.model.frozen_maps
        strides = backbone.strides[:maps]
        features = unpack(packed.float(), backbone.channels[:maps], strides)
        rows, columns = packed.shape[-2:]
        size = strides[-1] * rows, strides[-1] * columns
        return self.model.decode(continue_from(backbone, features), size)


class CachedFeatures(Dataset):
    """Packed features and labels of the copies of each image.

    The files are in a folder below `cache_root()`. Its key holds the fingerprint of the backbone's
    weights and all that the copies depend on. Files with another key are stale and are removed. If
    the computation is interrupted, the next one resumes it. Other processes that need the same
    files wait.

    `dataset[i]` is a random copy of image i, as that of `copies`.

    Args:
        copies: the images; their crop must be a multiple of 32 pixels.
        backbone: features are computed on its device, in single precision.
        name: names the folder.
        num_workers: processes that read and augment the images; 0 does it in this process.
        maps: number of maps to keep, from res-2 on: those that the frozen layers compute.

    Raises:
        ValueError: the crop is not a multiple of 32.
        OSError: the folder cannot be written; the error names it.
    """

    def __init__(
        self,
        copies: FixedCopies,
        backbone: nn.Module,
        name: str,
        num_workers: int = 0,
        maps: int = 4,
    ):
        if any(side % STRIDE for side in copies.crop):
            raise ValueError(
                f"data.crop must be a multiple of {STRIDE} pixels for cached features, not {copies.crop}"
            )
        self.copies, self.folder, self.maps = copies, cache_root() / "features" / name, maps
        key = copies.description() | {"weights": fingerprint(_frozen_state(backbone, maps))}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.with_suffix(".lock")):
                self._compute(backbone, key, num_workers)
        except OSError as error:
            raise OSError(
                f"cannot write features to {self.folder}: {error} (GCNLAB_CACHE sets the folder)"
            ) from error
        self._files: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.copies)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self._files is None:
            self._files = tuple(
                np.load(self.folder / name, mmap_mode="r") for name in (FEATURES, LABELS)
            )
        copy = int(torch.randint(0, self.copies.number, ()))
        return tuple(torch.from_numpy(np.array(values[index, copy])) for values in self._files)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": None}  # a pickled memory map would hold all its values

    def name(self, index: int) -> str:
        """The name of image `index` in error messages."""
        return self.copies.name(index)

    def check_item(self, features: Tensor, labels: Tensor, name: str) -> None:
        """Accept every item: images and labels were checked before their features were computed."""

    @torch.no_grad()
    def _compute(self, backbone: nn.Module, key: dict[str, Any], num_workers: int) -> None:
        """Compute what is missing in the folder."""
        done = _images_done(self.folder, key)
        if done == len(self):
            return
        if done == 0:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
        loader = DataLoader(
            _AllCopies(self.copies, done),
            batch_size=None,
            num_workers=num_workers,
            multiprocessing_context="spawn" if num_workers else None,
        )
        bar = tqdm(loader, desc="features", unit="img", initial=done, total=len(self))
        files = None
        with evaluation_mode(backbone), without_tf32():
            for index, (images, labels) in enumerate(bar, start=done):
                features = first_maps(backbone, images.to(device_of(backbone)), self.maps)
                packed = pack(features).half().cpu()
                if files is None:
                    files = self._open(packed, labels, new=done == 0)
                files[0][index], files[1][index] = packed.numpy(), labels.numpy()
                if (index + 1) % _SAVE_EVERY == 0 or index + 1 == len(self):
                    for values in files:
                        values.flush()
                    temporary = self.folder / f".{KEY}"
                    temporary.write_text(json.dumps(key | {"done": index + 1}, indent=1))
                    os.replace(temporary, self.folder / KEY)

    def _open(self, packed: Tensor, labels: Tensor, new: bool) -> tuple[np.ndarray, np.ndarray]:
        """The two files, for writing."""
        values = ((FEATURES, packed.numpy()), (LABELS, labels.numpy()))
        return tuple(
            np.lib.format.open_memmap(
                self.folder / name,
                "w+" if new else "r+",
                *((item.dtype, (len(self), *item.shape)) if new else ()),
            )
            for name, item in values
        )


class _AllCopies(Dataset):
    """All copies of each image from number `start` on: (images, labels), stacked."""

    def __init__(self, copies: FixedCopies, start: int):
        self.copies, self.start = copies, start

    def __len__(self) -> int:
        return len(self.copies) - self.start

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pairs = [self.copies.copy(self.start + index, n) for n in range(self.copies.number)]
        images, labels = zip(*pairs)
        return tuple(
            torch.stack([i.as_subclass(Tensor) for i in items]) for items in (images, labels)
        )


def _frozen_state(backbone: nn.Module, maps: int) -> dict[str, Tensor]:
    """The weights that the first `maps` feature maps depend on."""
    if maps == len(backbone.channels):
        return backbone.state_dict()
    return {
        f"{number}.{name}": value
        for number, module in enumerate(first_stages(backbone, maps))
        for name, value in module.state_dict().items()
    }


def _images_done(folder: Path, key: dict[str, Any]) -> int:
    """Number of images in the files of the folder; 0 if they are stale or incomplete."""
    try:
        found = json.loads((folder / KEY).read_text())
    except (OSError, ValueError):
        return 0
    complete = all((folder / name).is_file() for name in (FEATURES, LABELS))
    done = found.pop("done", 0)
    return done if complete and found == key else 0
