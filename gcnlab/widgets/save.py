"""Save atlases as a web page, without an explorer."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gcnlab.annotations import Shaped, Tensor, UInt8
from gcnlab.arguments import Pixel, pixel_of
from gcnlab.datasets.labels import LabelSet
from gcnlab.plots.notebook import picture_with_text, small_webp
from gcnlab.receptive import FieldAtlas
from gcnlab.receptive.regions import region_text
from gcnlab.receptive.unit import unit_at
from gcnlab.widgets.atlases import Occluder
from gcnlab.widgets.menus import state_of
from gcnlab.widgets.packing import atlas_extras
from gcnlab.widgets.page import page_part, whole_page
from gcnlab.widgets.painting import edges, paint
from gcnlab.widgets.question import METHODS, Question
from gcnlab.widgets.scene import pack_scene
from gcnlab.widgets.snapshot import Still, plot_stills


def save_page(
    path: str | Path,
    atlases: dict[str, FieldAtlas],
    picture: UInt8[Tensor, "3 height width"],
    labels: Shaped[Tensor, "label_rows label_columns"] | None = None,
    classes: LabelSet | Sequence[str] = (),
    pixel: Pixel | None = None,
    title: str = "Valid receptive fields",
) -> None:
    """Save atlases as a web page in which the fields follow the mouse.

    The page works without Python, from a file, and fetches nothing. It contains the fields in eight
    bits (`gcnlab.receptive.atlas_table` states their error).

    Args:
        path: the file, such as "fields.html".
        atlases: title → complete atlas of a network on one image; their windows must be the same.
        picture: the image as RGB, 0 … 255.
        labels: ids of classes or objects, of the size of the image, for coverages and outlines.
        classes: names of the classes, or a data set's labels.
        pixel: the (row, column) that is shown first; None means the centre.
        title: heading of the page.

    Raises:
        ValueError: there is no atlas, windows are missing, or something does not fit the rest.
    """
    if not atlases:
        raise ValueError("atlases is empty: give at least one")
    size = tuple(picture.shape[-2:])
    for name, atlas in atlases.items():
        if not atlas.complete:
            raise ValueError(f"the atlas {name!r} has missing windows: call its build()")
        if atlas.table.image_size != size:
            found, wanted = ("×".join(map(str, s)) for s in (atlas.table.image_size, size))
            raise ValueError(
                f"the atlas {name!r} is of an image of {found}, the picture has {wanted}"
            )
    if labels is not None and tuple(labels.shape) != size:
        raise ValueError(f"labels has {tuple(labels.shape)} pixels, but the picture has {size}")
    occluders = {_occluder(atlas) for atlas in atlases.values()}
    if len(occluders) > 1:
        raise ValueError(f"the atlases differ: {'; '.join(sorted(o.text for o in occluders))}")
    occluder = occluders.pop()
    pixel = (size[0] // 2, size[1] // 2) if pixel is None else pixel_of(pixel)
    question = Question(pixel, **asdict(occluder))
    names = classes.names if isinstance(classes, LabelSet) else classes
    background = names.index("background") if "background" in names else None
    state = state_of(question, []) | {"occluder": occluder.text}
    scene = pack_scene(
        picture,
        list(atlases),
        [{"method": "atlas", "label": METHODS["exact"], "view": "region"}],
        state,
        classes,
        labels,
        background=background,
        lossless=False,
    )
    tables = [
        (i, atlas.table, atlas_extras(question, atlas.table, atlas.best))
        for i, atlas in enumerate(atlases.values())
    ]
    stills = [_still(name, atlas, picture, pixel) for name, atlas in atlases.items()]
    text = " ".join(still.text for still in stills)
    image = picture_with_text(small_webp(plot_stills([stills])), text, "webp")["text/html"]
    page = whole_page(page_part(scene, tables, image), title)
    Path(path).write_text(page, encoding="utf-8")


def _occluder(atlas: FieldAtlas) -> Occluder:
    settings, (window, stride) = atlas.settings, (atlas.table.grid.window, atlas.table.grid.stride)
    if len(set(window)) > 1 or len(set(stride)) > 1:
        raise ValueError(f"a page needs square windows, not {window} every {stride}")
    target = settings.target
    if isinstance(target, tuple):
        if len(target) > 1:
            raise ValueError("an atlas holds several classes: create one with a single target")
        (target,) = target
    return Occluder(window[0], stride[0], settings.fill, target)


def _still(name: str, atlas: FieldAtlas, picture: Tensor, pixel: tuple[int, int]) -> Still:
    field = atlas.field(unit_at(pixel, atlas.table.image_size, atlas.table.map_size))
    region = field.region()
    facts = [
        ("image", f"{region.float().mean().item():.0%} covered"),
        ("region", region_text()),
        ("radius", f"{field.radius():.0f} px"),
    ]
    raster = paint(picture, field.discrepancy, region)
    return Still(name, raster, {"region": edges(region)}, pixel, facts)
