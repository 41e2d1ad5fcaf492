"""The trained networks that come with the package, and where its data files are.

The networks are in `data/checkpoints` of a checkout and travel in the wheel, so their names work in
every command and in `gcnlab.load`, from any working directory.
"""

from pathlib import Path

from gcnlab.arguments import nearest

WEIGHTS = "weights.safetensors"
"""The file that makes a folder an exported network, beside its card.json."""


def data_folder(name: str) -> Path:
    """Return a folder of data files that come with the package.

    Args:
        name: "checkpoints" (trained networks), "paper" (the published tables), "voc_animals"
            (the lists of images of VOC animals) or "cat" (the outline of a cat).

    Raises:
        FileNotFoundError: neither the installed package nor a checkout has this folder.
    """
    package = Path(__file__).parent
    for folder in (package / "_data" / name, package.parent / "data" / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no data/{name} in the gcnlab package at {package}; reinstall gcnlab")


def pretrained_networks() -> list[str]:
    """Return the names of the trained networks that come with the package.

    Among them are segmentation networks and backbones; `gcnlab.load(name)` loads each.
    """
    return sorted(file.parent.name for file in data_folder("checkpoints").glob(f"*/{WEIGHTS}"))


def resolve(name_or_path: str | Path) -> Path:
    """Return the folder of a pretrained network, or the path itself.

    An existing path has precedence over a network of the same name.

    Args:
        name_or_path: a name in `pretrained_networks()`, or a path.

    Raises:
        FileNotFoundError: a name without a folder part is neither a pretrained network nor a path.
    """
    path = Path(name_or_path)
    if path.exists() or len(path.parts) != 1:
        return path
    networks = pretrained_networks()
    if path.name in networks:
        return data_folder("checkpoints") / path.name
    raise FileNotFoundError(
        f"no folder or pretrained network {str(path)!r}{nearest(path.name, networks)}; "
        f"the pretrained networks are {', '.join(networks)}"
    )
