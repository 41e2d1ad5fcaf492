"""What the pictures of the resize explorer show: traits of `Picture`, from `Sized`.

`shown` is the size of which there is an answer, which may be another than the `current` one; then the
facts say so. It is None if there is no answer yet; then the picture is dimmed.
"""

from typing import Any

from gcnlab.datasets.labels import LabelSet
from gcnlab.widgets.painting import edges, paint, tint
from gcnlab.widgets.sizes import Sized
from gcnlab.widgets.snapshot import Still


def field_traits(
    title: str, shown: Sized | None, current: Sized, view: str = "region"
) -> dict[str, Any]:
    """The picture of a network's field.

    Args:
        title: title of the network.
        shown: the size whose answer is shown.
        current: the size that was asked for.
        view: "region", "contour" or "heat".
    """
    if shown is None or title in shown.errors:
        return _without_answer(shown, current)
    answer = shown.answers[title]
    facts = [("size", _size(shown, current))]
    if answer.asked_unit:
        facts.append(("unit", answer.asked_unit))
    if answer.region is not None:
        facts.append(("object", f"{shown.coverage(title):.0%} covered"))
    facts += answer.measure_facts
    if shown is current:
        facts.append(("time", f"{answer.seconds:.1f} s"))
    return {
        "raster": paint(shown.image, answer.field, answer.region, view),
        "region": [] if answer.region is None or view == "heat" else edges(answer.region),
        "item": edges(shown.mask),
        "facts": facts,
        "note": answer.note,
        "pending": False,
    }


def prediction_traits(
    title: str, shown: Sized | None, current: Sized, labels: LabelSet
) -> dict[str, Any]:
    """The picture of a network's prediction, in the colours of `labels`; see `field_traits`."""
    if shown is None or title not in shown.predictions:
        return _without_answer(shown, current)
    classes = shown.predictions[title]
    found = labels.names[int(classes[shown.pixel])]
    wrong = "" if found == labels.names[shown.kind] else ", wrong"
    return {
        "raster": tint(shown.image, labels.colorize(classes)),
        "item": edges(shown.mask),
        "facts": [
            ("size", _size(shown, current)),
            ("centre", f"{found}{wrong}"),
            ("IoU", f"{shown.iou(title):.0%}"),
        ],
        "pending": False,
    }


def stills(
    sized: Sized, titles: list[str], labels: LabelSet, view: str = "region"
) -> list[list[Still]]:
    """The fields and below them the predictions of networks that have answered, each with its
    coverage or its IoU as the only fact."""
    fields, predictions = [], []
    for title in titles:
        for row, traits, fact in (
            (fields, field_traits(title, sized, sized, view), "object"),
            (predictions, prediction_traits(title, sized, sized, labels), "IoU"),
        ):
            outlines = {name: traits[name] for name in ("item", "region") if name in traits}
            facts = [pair for pair in traits["facts"] if pair[0] == fact]
            row.append(Still(title, traits["raster"], outlines, sized.pixel, facts))
    return [fields, predictions]


def _without_answer(shown: Sized | None, current: Sized) -> dict[str, Any]:
    """The image alone: the answer is being computed or, if `shown` is not None, has failed."""
    state = ", being computed" if shown is None else ""
    return {
        "raster": paint(current.image),
        "region": [],
        "item": edges(current.mask),
        "facts": [("size", f"{current.size:.0f} px{state}")],
        "note": "",
        "pending": shown is None,
    }


def _size(shown: Sized, current: Sized) -> str:
    if shown is current:
        return f"{shown.size:.0f} px"
    return f"{shown.size:.0f} px, the nearest computed; {current.size:.0f} px follows"
