"""The still pictures of a laboratory: what an explorer shows at this moment, without a browser."""

import torch

from gcnlab.datasets.labels import LabelSet
from gcnlab.receptive import coverage
from gcnlab.widgets.laboratory import Laboratory
from gcnlab.widgets.painting import edges, paint, tint
from gcnlab.widgets.question import Question
from gcnlab.widgets.session import Answer
from gcnlab.widgets.snapshot import Still


def stills_of(
    laboratory: Laboratory, question: Question, errors: dict[tuple[str, str], str]
) -> list[list[Still]]:
    """The pictures that answer a question: a row for each method, a column for each network.

    Args:
        laboratory: what is known.
        question: what is asked.
        errors: method and title → what is shown below that picture.
    """
    return [
        [
            _still(laboratory, question, method, title, errors.get((method, title), ""))
            for title in laboratory.titles
        ]
        for method in question.methods
    ]


def _still(
    laboratory: Laboratory, question: Question, method: str, title: str, error: str
) -> Still:
    answer, item = laboratory.answer(question, title, method), laboratory.object_under(question)
    view, field, region = question.view_of(method), None, None
    if answer is not None and answer.region is not None:
        field, region = answer.field, answer.region
    outlines = {"item": [] if item is None else edges(item)}
    if region is not None and view != "heat":  # a heat map has no outline
        outlines["region"] = edges(region)
    picture = laboratory.example(question).picture
    ids = laboratory.prediction(question, title)
    if view == "prediction" and ids is not None and isinstance(laboratory.labels, LabelSet):
        tinted = tint(picture, laboratory.labels.colorize(ids))
        picture = torch.from_numpy(tinted).permute(2, 0, 1)
    return Still(
        title=title,
        raster=paint(picture, field, region, view),
        segments=outlines,
        pixel=question.pixel,
        facts=[] if answer is None else _facts(laboratory, answer),
        error=error,
    )


def _facts(laboratory: Laboratory, answer: Answer) -> list[tuple[str, str]]:
    question, names = answer.question, laboratory.names
    if question.layer is None:
        name = names[answer.target] if answer.target < len(names) else answer.target
        predicted = ", predicted" if question.target is None else ""
        facts = [("class", f"{name}{predicted}"), ("logit", f"{answer.logit:.2f}")]
    else:
        strongest = ", strongest" if question.target is None else ""
        facts = [("channel", f"{answer.target}{strongest}"), ("activation", f"{answer.logit:.3g}")]
    if question.layer is None and answer.best is not None:
        facts.append(("best classes", best_text(*answer.best, names)))
    if answer.asked_unit:
        facts.append(("unit", answer.asked_unit))
    if answer.region is None:
        return facts
    item = laboratory.object_under(question)
    if item is not None:
        facts.append(("object", f"{coverage(answer.region, item):.0%} covered"))
    facts.append(("image", f"{answer.region.float().mean().item():.0%} covered"))
    return facts + answer.measure_facts


def best_text(ids: list[int], probabilities: list[float], names: tuple[str, ...]) -> str:
    """The likeliest classes as text: "cross 93 %, star 5 %". Those below half a percent are left
    out."""
    return ", ".join(
        f"{names[i] if i < len(names) else f'class {i}'} {p:.0%}"
        for i, p in zip(ids, probabilities)
        if p >= 0.005
    )
