"""Write the tables of results into README.md and docs/*.md: python docs/tables.py

A page marks the place of a table; the lines between the markers are replaced:

    <!-- table: NAME -->
    <!-- end -->

NAME is a function in this file. Each reads files under data/results and returns rows of text, the
header first. With --check nothing is written, and the command fails if a page is out of date.
"""

import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, pairwise, product
from pathlib import Path
from typing import Any

from gcnlab.experiments import coverage, depth_profiles, field_measures, report, size_groups
from gcnlab.experiments.atlas_results import PARTS, AtlasResult, read_atlases
from gcnlab.experiments.depth_profiles import Interval
from gcnlab.experiments.field_results import FieldResult, read_fields
from gcnlab.experiments.network_cost import table_networks
from gcnlab.experiments.object_size import read_result
from gcnlab.experiments.paper import results_folder
from gcnlab.experiments.rank_correlation import Correlation, rank_correlation
from gcnlab.experiments.scales import Scale
from gcnlab.experiments.tables import SCORES, Claim, paper_table
from gcnlab.pretrained import data_folder, pretrained_networks
from gcnlab.receptive.settings import QUANTITIES

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKED = re.compile(r"(?<=<!-- table: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

Rows = list[list[str]]
HEADS = {"conv1x1": "1×1", "gcn3": "k = 3", "gcn5": "k = 5", "gcn7": "k = 7", "gcn15": "k = 15"}

FIELD_MEASURES = {
    "radius": "radius",
    "area_mass": "area, 80 % of the mass",
    "coverage_mass": "coverage, 80 % of the mass",
    "area_maximum": "area, ≥ 20 % of the maximum",
    "coverage_maximum": "coverage, ≥ 20 % of the maximum",
}


NETWORKS = HEADS | {"gcn11": "k = 11", "gcn11-br": "k = 11 + BR"}
SIZES = (0, 60), (60, 110), (110, 160), (160, 1000)
"""Groups of objects of photographs by size, the square root of the area, in pixels."""
OF_FIELD = {
    field_measures.Measure("logit", "radius"): "radius, px",
    field_measures.Measure("logit", "area_mass"): "area, %",
    field_measures.Measure("logit", "coverage_mass"): "covered, %",
}


def main() -> None:
    runs, outdated = report.finished_runs(), []
    for page in PAGES:
        text = page.read_text()
        new = filled(text, runs)
        if new != text:
            outdated.append(str(page.relative_to(ROOT)))
            if "--check" not in sys.argv:
                page.write_text(new)
    if outdated and "--check" in sys.argv:
        sys.exit(f"{', '.join(outdated)}: tables out of date; run python docs/tables.py")


def filled(text: str, runs: report.Runs) -> str:
    """The text of a page with all its tables made from the results."""

    def table(match: re.Match) -> str:
        name = match[1]
        if name not in TABLES:
            raise ValueError(f"no table {name!r}; docs/tables.py has {', '.join(TABLES)}")
        return f"{name}{match[2]}{markdown(TABLES[name](runs))}\n"

    return MARKED.sub(table, text)


def markdown(rows: Rows) -> str:
    """Rows as a Markdown table with a header. A number and its spread stay on one line."""
    lines = [
        "| " + " | ".join(cell.replace(" ± ", "\u00a0±\u00a0") or "–" for cell in row) + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _read(name: str) -> dict[str, Any]:
    return json.loads((results_folder() / name).read_text())


# --- The paper's tables


def summary(runs: report.Runs) -> Rows:
    """Seven of the paper's orderings, for the README."""
    chosen: tuple[tuple[str, int, Scale, Claim], ...] = (
        ("Photographs: GCN, k = 11, against a 1×1 head", 5, "photos", Claim("gcn11", "conv1x1")),
        ("… with the backbone fine-tuned", 5, "photos-tuned", Claim("gcn11", "conv1x1")),
        ("… frozen, inside objects", 5, "photos", Claim("gcn11", "conv1x1", "internal_accuracy")),
        ("… frozen, with boundary refinement, at boundaries", 5, "photos", Claim("gcn11-br", "gcn11", "boundary_accuracy")),
        ("Shapes: GCN, k = 7, against a 1×1 head", 5, "mini", Claim("gcn7", "conv1x1")),
        ("… with boundary refinement, at boundaries", 5, "mini", Claim("gcn7-br", "gcn7", "boundary_accuracy")),
        ("… k = 7 against k = 3, at 512 px", 1, "large", Claim("gcn7", "gcn3")),
    )  # fmt: skip
    rows = [["comparison", "score", "paper", "ours", "the paper's ordering"]]
    for words, number, scale, claim in chosen:
        table = paper_table(number, scale)
        (verdict,) = (v for v in report.verdicts(table, runs) if v.claim == claim)
        paper, score = f"{table.published_lead(claim):+.1f}", SCORES[claim.score]
        rows.append([words, score, paper, report.format_lead(verdict), verdict.outcome])
    return rows


def orderings(runs: report.Runs) -> Rows:
    return report.orderings(runs)


def boundary_and_interior(runs: report.Runs) -> Rows:
    return _scores(5, "mini", runs)


def boundary_and_interior_on_photographs(runs: report.Runs) -> Rows:
    return _scores(5, "camvid", runs)


def kernel_size_on_animals(runs: report.Runs) -> Rows:
    return _scores(1, "photos", runs)


def boundary_and_interior_on_animals(runs: report.Runs) -> Rows:
    return _scores(5, "photos", runs)


def fine_tuned_on_animals(runs: report.Runs) -> Rows:
    """Table 5 after an epoch of fine-tuning, and the gain over the networks that it started from;
    beside it, the gain of as many steps of the heads alone."""
    rows = _scores(5, "photos-tuned", runs)
    frozen, tuned = (paper_table(5, scale).cells for scale in ("photos", "photos-tuned"))
    for row, before, after in zip(rows[1:], frozen, tuned):
        longer = replace(before, config=replace(before.config, training=after.config.training))
        old, *new = (report.by_seed(cell, runs) for cell in (before, after, longer))
        gains = ([found[s]["miou"] - old[s]["miou"] for s in found] for found in new)
        row += map(_mean_and_spread, gains)
    return [[*rows[0], "gain in mIoU", "gain of the heads alone"], *rows[1:]]


def other_heads_on_animals(runs: report.Runs) -> Rows:
    dense, stacks = (_scores(number, "photos", runs) for number in (2, 3))
    return [*dense, *(row for row in stacks if row not in dense)]


def kernel_size_per_level(runs: report.Runs) -> Rows:
    return _scores("levels", "photos", runs)


def networks_for_photographs(runs: report.Runs) -> Rows:
    """The scores on the cards of the networks for photographs that come with the package."""
    shown = {"miou": "mIoU %", "boundary_accuracy": "boundary %", "internal_accuracy": "internal %"}
    rows = [["network", *shown.values()]]
    for name in pretrained_networks():
        if name.startswith("photos-"):
            card = json.loads((data_folder("checkpoints") / name / "card.json").read_text())
            rows.append([f"`{name}`", *(f"{card['scores'][score]:.1f}" for score in shown)])
    return rows


def kernel_size_at_512_px(runs: report.Runs) -> Rows:
    return _scores(1, "large", runs)


def _scores(number: int | str, scale: Scale, runs: report.Runs) -> Rows:
    table = paper_table(number, scale)
    rows = [["network", *(f"{SCORES[score]} %" for score in table.scores), "seeds"]]
    for cell in table.cells:
        found = report.by_seed(cell, runs).values()
        shown = [report.mean_and_spread([s[score] for s in found]) for score in table.scores]
        rows.append([cell.name, *shown, str(len(found))])
    return rows


def learning_rates(runs: report.Runs) -> Rows:
    """The mIoU of the heads of Tables 1 to 4 at four learning rates."""
    rates = (0.001, 0.0025, 0.005, 0.01)
    rows = [["head", *map(str, rates)]]
    for name in ("conv1x1", "gcn3", "conv3", "gcn7", "conv7", "stack7", "stack7-half", "stack7-tenth"):  # fmt: skip
        shown = [_miou(name, runs, learning_rate=rate) for rate in rates]
        rows.append([name, *shown])
    return rows


def precision(runs: report.Runs) -> Rows:
    """The mIoU of two heads in both precisions."""
    rows = [["head", "fp32", "bf16"]]
    return rows + [
        [name, _miou(name, runs), _miou(name, runs, precision="bf16")]
        for name in ("gcn7", "stack7")
    ]


def _miou(name: str, runs: report.Runs, **training: Any) -> str:
    config = table_networks()[name]
    config = replace(config, training=replace(config.training, **training))
    return report.mean_and_spread([s["miou"] for s in report.by_seed(config, runs).values()])


def pretrained_start(runs: report.Runs) -> Rows:
    """A run from a pretrained backbone beside one from a random start."""
    rows = [["start", "steps", "training time", "mIoU %"]]
    for title, name in (("pretrained", "quick"), ("random", "shapes")):
        result = _read(f"{name}/gcn7-seed0/result.json")
        seconds = f"{result['provenance']['wall_seconds']:.0f} s"
        miou = f"{result['scores']['miou']:.1f}"
        rows.append([f"{title} (`{name}`)", str(result["steps"]), seconds, miou])
    return rows


# --- Object size, coverage, CRF


def large_objects(runs: report.Runs) -> Rows:
    """Objects of 192 px under the quick networks: internal accuracy and coverage."""
    names = {"internal_accuracy": "inside right %", "coverage": "covered by the valid field %"}
    rows = [["objects of 192 px", *HEADS.values()]]
    for score, words in names.items():
        spreads = [list(_at_192_px(head, score).values()) for head in HEADS]
        rows.append([words, *map(report.mean_and_spread, spreads)])
    return rows


def large_object_orderings(runs: report.Runs) -> Rows:
    rows = [["ordering at 192 px", "outcome", "difference"]]
    for worse, better in pairwise(HEADS):
        claim = Claim(better, worse, "internal_accuracy")
        inside = (_at_192_px(head, claim.score) for head in (better, worse))
        verdict = report.judge(claim, *inside, needed=3)
        rows.append([str(claim), verdict.outcome, report.format_lead(verdict)])
    return rows


def _at_192_px(head: str, score: str) -> dict[int, float]:
    """A score of the quick networks on the largest objects of the training set, by seed."""
    files = sorted((results_folder() / "object_size/quick").glob(f"{head}-*.json"))
    found = map(read_result, files)
    return {r.seed: getattr(s, score) for r in found for s in r.scores if s.size == 192}


def coverage_correlations(runs: report.Runs) -> Rows:
    rows = [["network", *coverage.correlations([])]]
    for head, title in (("conv1x1", "1×1"), ("gcn7", "GCN, k = 7")):
        files = sorted((results_folder() / "coverage/quick").glob(f"{head}-*.json"))
        found = [coverage.correlations(coverage.read_result(file)).values() for file in files]
        by_group = zip(*([c.rho for c in groups] for groups in found))
        rows.append(
            [title, *(f"{statistics.mean(r):.2f} ± {statistics.stdev(r):.2f}" for r in by_group)]
        )
    return rows


def field_measures_on_shapes(runs: report.Runs) -> Rows:
    """What each measure of a field does over large objects of Shapes, three seeds."""
    return _field_measures("fields/quick", "conv1x1", "gcn7")


def _field_measures(folder: str, worse: str, better: str) -> Rows:
    """A row per quantity and measure: two heads, paired by object, and how steady it is."""
    found = _networks(folder)
    if missing := [name for name in (worse, better) if name not in found]:
        raise ValueError(f"data/results/{folder} has no network {' or '.join(missing)}")
    by_head = {name: found[name] for name in (worse, better)}
    columns = [
        "1×1",
        f"k = {better[3:]}",
        "larger",
        "effect",
        "p",
        "seeds",
        "windows",
        "halved windows",
        "one window",
    ]
    rows = [["of", "measure", *columns, "with inside, 1×1", "with inside, GCN"]]
    for quantity, name in product(QUANTITIES, FIELD_MEASURES):
        measure = field_measures.Measure(quantity, name)
        heads = field_measures.tell_apart(*by_head.values(), measure)
        steady = field_measures.steadiness([*chain(*by_head.values())], measure)
        unit = " px" if name == "radius" else " %"
        inside = (field_measures.with_inside(results, measure) for results in by_head.values())
        rows.append(
            [
                quantity,
                FIELD_MEASURES[name],
                *(f"{mean:.0f}{unit}" for mean in heads.means),
                f"{heads.larger} of {heads.objects}",
                _known(heads.effect),
                f"{heads.p:.0e}",
                *map(_known, [steady.seeds, steady.windows, steady.ratio]),
                f"{steady.one_window:.1%}",
                *map(_known, inside),
            ]
        )
    return rows


def field_measures_on_photographs(runs: report.Runs) -> Rows:
    return _field_measures("fields/photos", "conv1x1", "gcn11")


def _known(number: float) -> str:
    return "" if number != number else f"{number:.2f}"  # NaN: not measured


# --- Figure 3 on photographs


def inside_by_size(runs: report.Runs) -> Rows:
    """The share of the inside that is right, by the size of the object."""
    return _by_size("inside")


def iou_by_size(runs: report.Runs) -> Rows:
    return _by_size("iou")


def _by_size(score: str) -> Rows:
    found = _networks("object_scores/photos")
    first = next(iter(found.values()))[0]
    counts = [len(size_groups.of_size(first, *group).objects) for group in SIZES]
    rows = [["network", *_sizes(), "with size"], ["objects", *map(str, counts), ""]]
    for name, results in found.items():
        means = map(_mean_and_spread, zip(*size_groups.by_size(results, score, SIZES)))
        rows.append([NETWORKS[name], *means, _rho(size_groups.with_size(results, score))])
    return rows


def fields_by_size(runs: report.Runs) -> Rows:
    """Radius, area and coverage of the valid field, by the size of the object."""
    found = _networks("fields/photos")
    first = next(iter(found.values()))[0]
    counts = [len(size_groups.of_size(first, *group).objects) for group in SIZES[1:]]
    rows = [["measure", "network", *_sizes()[1:], "with size"]]
    rows.append(["objects", "", *map(str, counts), ""])
    for measure, title in OF_FIELD.items():
        for name, results in found.items():
            means = map(_mean_and_spread, zip(*size_groups.by_size(results, measure, SIZES[1:])))
            size = _rho(size_groups.with_size(results, measure))
            rows.append([title, NETWORKS[name], *means, size])
    return rows


def lead_by_size(runs: report.Runs) -> Rows:
    """How much more GCN, k = 11, has than another head; in how many objects; Wilcoxon's test."""
    scores, fields = (_networks(f"{n}/photos") for n in ("object_scores", "fields"))
    measures = [("inside", "right inside, points", scores)]
    measures += [(measure, title, fields) for measure, title in OF_FIELD.items()]
    rows = [["k = 11 has more of", "than", *_sizes()]]
    for (measure, title, found), worse in product(measures, ("conv1x1", "gcn3")):
        heads = [
            [[size_groups.of_size(r, *group) for r in found[name]] for name in (worse, "gcn11")]
            for group in SIZES
        ]
        cells = [_lead(*pair, measure) if pair[0][0].objects else "" for pair in heads]
        rows.append([title, NETWORKS[worse], *cells])
    return rows


def _lead(
    one: list[FieldResult], other: list[FieldResult], measure: field_measures.Measure | str
) -> str:
    heads = field_measures.tell_apart(one, other, measure)
    difference = heads.means[1] - heads.means[0]
    return f"{difference:+.1f} ({heads.larger} of {heads.objects}, p {report.p_value(heads.p)})"


def same_objects_by_length(runs: report.Runs) -> Rows:
    """The same objects at several sizes: right inside, and covered by the field."""
    found = _networks("fields/photos-pasted")
    lengths = next(iter(found.values()))[0].lengths
    rows = [["", "network", *(f"{length} px" for length in lengths)]]
    of_field = {m: OF_FIELD[m] for m in OF_FIELD if m.name in ("coverage_mass", "radius")}
    for measure, title in {"inside": "right inside, %", **of_field}.items():
        for name, results in found.items():
            shown = [[size_groups.at_length(r, length) for r in results] for length in lengths]
            means = [_mean_and_spread(size_groups.means_of_seeds(g, measure)) for g in shown]
            rows.append([title, NETWORKS[name], *means])
    return rows


def why_right_inside(runs: report.Runs) -> Rows:
    """Rank correlations of each measure with the share of the inside that is right."""
    found = _networks("fields/photos")
    rows = [["measure", *(NETWORKS[name] for name in found), "gains", "of the gains"]]
    for measure, title in OF_FIELD.items():
        each = (field_measures.with_inside(results, measure) for results in found.values())
        gain = size_groups.gains(found["conv1x1"], found["gcn11"], measure)
        rows.append(
            [title, *(f"{rho:+.2f}" for rho in each), _rho(gain), f"p {report.p_value(gain.p)}"]
        )
    return rows


def accuracy_by_distance(runs: report.Runs) -> Rows:
    """The accuracy of the pixels at each distance from a boundary, on photographs."""
    distances = (1, 3, 7, 15, 30, 40)
    rows = [["network", *(f"{distance} px" for distance in distances)]]
    for name, title in NETWORKS.items():
        files = sorted((results_folder() / "distance/photos").glob(f"{name}-seed*.json"))
        if files:
            curves = [json.loads(f.read_text())["scores"]["curve"]["at"] for f in files]
            columns = zip(*([curve[d - 1] for d in distances] for curve in curves))
            rows.append([title, *(_mean_and_spread(column) for column in columns)])
    return rows


def _networks(folder: str) -> dict[str, list[FieldResult]]:
    """Name of a network → its results of all seeds."""
    found = [read_fields(path) for path in sorted((results_folder() / folder).glob("*.json"))]
    by_name = {name: [r for r in found if r.head == name] for name in NETWORKS}
    return {name: results for name, results in by_name.items() if results}


def _sizes() -> list[str]:
    last = len(SIZES) - 1
    return [f"over {a} px" if i == last else f"{a}–{b} px" for i, (a, b) in enumerate(SIZES)]


def _mean_and_spread(seeds: Iterable[float]) -> str:
    return report.mean_and_spread(list(seeds))


def _rho(found: Correlation) -> str:
    return f"{found.rho:+.2f}"


# --- The fields of all pixels of objects

OF_PART = {
    "coverage": "covered, %",
    "right": "right, %",
    "context": "field outside, %",
    "radius": "radius, px",
}


def edge_to_middle_on_shapes(runs: report.Runs) -> Rows:
    return _edge_to_middle("shapes", ((0, 80), (80, 1000)), ("conv1x1", "gcn15"))


def edge_to_middle_on_photographs(runs: report.Runs) -> Rows:
    return _edge_to_middle("photos", ((0, 110), (110, 1000)), ("conv1x1", "gcn11"))


def _edge_to_middle(folder: str, groups: tuple[tuple[int, int], ...], heads: Iterable[str]) -> Rows:
    """Means of fields from the edge to the middle of small and large objects."""
    found = _atlases(folder)
    ends = [n / PARTS for n in range(PARTS + 1)]
    parts = [f"{a:.1g}–{b:.1g}" for a, b in pairwise(ends)]
    rows = [["measure", "objects", "network", *parts, "middle − edge"]]
    for (low, high), (measure, title) in product(groups, OF_PART.items()):
        size = f"over {low} px" if low else f"up to {high} px"
        for name in heads:
            profile = depth_profiles.profile(found[name], measure, low, high)
            change = depth_profiles.change(found[name], measure, low, high)
            objects = f"{size}: {change.count}"
            means = [f"{part.mean:.1f}" for part in profile]
            rows.append([title, objects, NETWORKS[name], *means, _interval(change, 1)])
    return rows


def coverage_and_errors_on_shapes(runs: report.Runs) -> Rows:
    return _coverage_and_errors("shapes")


def coverage_and_errors_on_photographs(runs: report.Runs) -> Rows:
    return _coverage_and_errors("photos")


def _coverage_and_errors(folder: str) -> Rows:
    """Rank correlations within images, over the pixels on objects."""
    rows = [
        [
            "network",
            "images",
            "coverage, right",
            "at equal depth",
            "coverage, depth",
            "right, depth",
        ]
    ]
    for name, results in _atlases(folder).items():
        names = ("coverage_right", "at_equal_depth", "coverage_depth", "right_depth")
        found = [depth_profiles.within_images(results, one) for one in names]
        rows.append([NETWORKS[name], str(found[0].count), *(_interval(one, 2) for one in found)])
    return rows


def coverage_gains(runs: report.Runs) -> Rows:
    """What the larger kernel adds to coverage and to what is right, in the same parts of the same
    objects."""
    rows = [["data", "objects", "part", "covered, points", "right, points", "rank correlation"]]
    for data, folder, head, groups in (
        ("Shapes, k = 15", "shapes", "gcn15", ((0, 80), (80, 1000))),
        ("photographs, k = 11", "photos", "gcn11", ((0, 110), (110, 1000))),
    ):
        found = _atlases(folder)
        pair = found["conv1x1"], found[head]
        for (low, high), (part, title) in product(groups, ((0, "edge"), (-1, "middle"))):
            gains = {
                m: depth_profiles.gains(*pair, m, low, high)[:, part] for m in ("coverage", "right")
            }
            together = rank_correlation(*gains.values())
            cells = [_interval(depth_profiles.interval(gain), 1) for gain in gains.values()]
            size = f"over {low} px" if low else f"up to {high} px"
            p = f"{together.rho:+.2f} (p {report.p_value(together.p)})"
            rows.append([data, f"{size}: {together.objects}", title, *cells, p])
    return rows


def _atlases(folder: str) -> dict[str, list[AtlasResult]]:
    """Name of a network → its results of all seeds."""
    files = sorted((results_folder() / "atlases" / folder).glob("*.json"))
    found = [read_atlases(path) for path in files]
    by_name = {name: [r for r in found if r.head == name] for name in NETWORKS}
    return {name: results for name, results in by_name.items() if results}


def _interval(found: Interval, digits: int) -> str:
    mean, low, high = (f"{n:+.{digits}f}" for n in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"


# --- Dense CRF


def crf(runs: report.Runs) -> Rows:
    rows = [["network", "mIoU %", "boundary %"]]
    for title, name in (
        ("Shapes, GCN k = 7", "shapes-gcn7-seed0"),
        ("Shapes, GCN k = 7 + BR", "shapes-gcn7-br-seed0"),
        ("CamVid, GCN k = 7 + BR", "camvid-mini-gcn7-br"),
        ("CamVid, weaker settings, chosen after seeing the row above", "camvid-mini-gcn7-br-weak"),
    ):
        found = _read(f"crf/{name}.json")
        shown = [
            f"{found['before'][score]:.1f} → {found['after'][score]:.1f}"
            for score in ("miou", "boundary_accuracy")
        ]
        rows.append([title, *shown])
    return rows


# --- Speed and memory


def vrf_growth(runs: report.Runs) -> Rows:
    """The speed of valid receptive fields against image size, stride and k."""
    rows = [["network, image", "windows", "exact", "drill-down", "peak memory"]]
    for row in _read("bench/vrf-growth.json")["rows"]:
        what = f"{row['network']}, {row['size']} px, every {row['stride']} px"
        times = [f"× {row[way]['ratio']['cpu']:.1f}" for way in ("exact", "drilldown")]
        rows.append([what, str(row["windows"]), *times, f"× {row['memory_mb']['ratio']:.2f}"])
    return rows


def vrf_networks(runs: report.Runs) -> Rows:
    """The speed of valid receptive fields of two more networks."""
    rows = [["network", "windows", "exact", "multiply-adds allow", "drill-down", "windows run", "agreement"]]  # fmt: skip
    for title, name in (
        ("ResNet-50, GCN k = 15, BR, 300 steps on Shapes, 512 px", "vrf-resnet50-trained"),
        ("torchvision fcn_resnet50, random weights, 256 px", "vrf-fcn_resnet50"),
    ):
        (row,) = _read(f"bench/{name}.json")["rows"]
        rows.append(
            [
                title,
                str(row["windows"]),
                f"× {row['exact']['ratio']['cpu']:.1f}",
                f"× {row['exact']['bound']:.1f}",
                f"× {row['drilldown']['ratio']['cpu']:.1f}",
                f"{row['drilldown_share_run']:.0%}",
                f"{row['drilldown_agreement']:.3f} ({row['pairs']} pairs)",
            ]
        )
    return rows


def data_loading(runs: report.Runs) -> Rows:
    rates = _read("bench/data.json")["images_per_second"]
    return [["transforms", "images per second"], *([n, f"{r:.0f}"] for n, r in rates.items())]


def inference_memory(runs: report.Runs) -> Rows:
    rows = [["inference", "peak memory above an idle process"]]
    return rows + [
        [row["what"], f"{row['peak_mb'] / 1000:.2f} GB"]
        for row in _read("bench/inference-memory.json")["rows"]
    ]


def training_and_inference(runs: report.Runs) -> Rows:
    rows = [["what", "ours", "ours, compiled", "time to compile"]]
    for title, name in (("training step", "train"), ("inference", "infer")):
        found = _read(f"bench/{name}.json")["variants"]
        compiled = found["gcnlab, compiled"]
        times = [f"× {v['times_plain']:.2f}" for v in (found["gcnlab"], compiled)]
        rows.append([title, *times, f"{compiled['first_call_seconds']:.0f} s"])
    return rows


def allocator(runs: report.Runs) -> Rows:
    rows = [["images", "memory returned", "memory kept", "speed", "peak memory"]]
    for row in _read("bench/allocator.json")["rows"]:
        peaks = row["kept"]["peak_mb"] / row["given_back"]["peak_mb"]
        times = [
            f"{row[way]['seconds']:.2f} s ({row[way]['system_seconds']:.2f} s)"
            for way in ("given_back", "kept")
        ]
        speed = f"× {row['times_as_fast']:.2f}"
        rows.append([f"{row['image_size']}×{row['image_size']}", *times, speed, f"× {peaks:.2f}"])
    return rows


def cost_growth(runs: report.Runs) -> Rows:
    """How the cost of two heads grows from k = 3 to 25, and what fits it."""
    found = _read("bench/cost.json")
    by_head = {(row["kind"], row["k"]): row for row in found["rows"]}
    rows = [["head", "time", "operations", "fit of the time", "variance explained"]]
    for kind, title, power, fit in (
        ("gcn", "GCN", "k^1", "a + b·k"),
        ("conv", "k×k convolution", "k^2", "a + b·k²"),
    ):
        small, large = by_head[kind, 3], by_head[kind, 25]
        times = [f"× {large[what] / small[what]:.0f}" for what in ("seconds", "operations")]
        rows.append([title, *times, fit, f"{100 * found['variance_explained'][kind][power]:.1f} %"])
    return rows


# --- Which networks the receptive-field tools take


def random_networks(runs: report.Runs) -> Rows:
    found = _read("receptive/random.json")
    ways, theory = found["ways"], found["theoretical_field"]
    jumping = sum(n for reason, n in found["why_plain"].items() if "jumps" in reason)
    rows = {
        "random networks": found["networks"],
        "kinds of layers": len(found["layers"]),
        "all activations reused": ways["local"],
        "some operations run on their whole input": ways["partly whole"],
        "plain method, because an operation is not continuous": jumping,
        "plain method, for another reason": ways["plain"] - jumping,
        "largest difference from the plain method, relative to the field's maximum": f"{found['largest_difference']:.0e}",
        "networks that differ by more than 1e-4": len(found["differ_by_more_than_1e-4"]),
        "networks whose first field failed its self-check": len(found["failed_their_check"]),
        "theoretical field known": theory["known"],
        "theoretical field known, with a gradient outside of it": len(found["gradient_outside_the_theoretical_field"]),
    }  # fmt: skip
    return [["result", "networks"], *([words, str(value)] for words, value in rows.items())]


def other_networks(runs: report.Runs) -> Rows:
    rows = [["network", "speed-up", "difference", "operations run on their whole input"]]
    for row in _read("receptive/others.json")["rows"]:
        if row["operations"] is None:
            whole = f"plain method: {row['note'].split(': ', 1)[1].split(',')[0]}"
        else:
            kinds = Counter(_operation(name) for name in row["run_as_a_whole"])
            first = ", ".join(name for name, _ in kinds.most_common(3))
            more = ", …" if len(kinds) > 3 else ""
            count = f"{len(row['run_as_a_whole'])} of {row['operations']}"
            whole = f"{count}: {first}{more}" if kinds else "none"
        numbers = f"× {row['times_as_fast']:.2f}", f"{row['difference']:.0e}"
        rows.append([row["network"], *numbers, whole])
    return rows


def _operation(name: str) -> str:
    """The operation: "view" of "layers.1 (view)"."""
    return re.split(r"[()]", name)[-2] if "(" in name else name


# --- Notebooks


def notebook_times(runs: report.Runs) -> Rows:
    """The median time of each notebook, and the range of the time of all."""
    found = _read("notebooks.json")
    rows = [["notebook", "time"]]
    for name, seconds in found["notebooks"].items():
        rows.append([f"[{name}](../notebooks/{name}.ipynb)", f"{statistics.median(seconds):.0f} s"])
    low, high = min(found["wall"]) / 60, max(found["wall"]) / 60
    return [*rows, ["all, two at a time", f"{low:.1f} to {high:.1f} min"]]


TABLES: dict[str, Callable[[report.Runs], Rows]] = {
    function.__name__: function
    for function in (
        summary,
        orderings,
        boundary_and_interior,
        boundary_and_interior_on_photographs,
        kernel_size_at_512_px,
        kernel_size_on_animals,
        boundary_and_interior_on_animals,
        fine_tuned_on_animals,
        other_heads_on_animals,
        kernel_size_per_level,
        networks_for_photographs,
        learning_rates,
        precision,
        pretrained_start,
        large_objects,
        large_object_orderings,
        coverage_correlations,
        field_measures_on_shapes,
        field_measures_on_photographs,
        inside_by_size,
        iou_by_size,
        fields_by_size,
        lead_by_size,
        same_objects_by_length,
        why_right_inside,
        accuracy_by_distance,
        edge_to_middle_on_shapes,
        edge_to_middle_on_photographs,
        coverage_and_errors_on_shapes,
        coverage_and_errors_on_photographs,
        coverage_gains,
        crf,
        vrf_growth,
        vrf_networks,
        data_loading,
        inference_memory,
        training_and_inference,
        allocator,
        cost_growth,
        random_networks,
        other_networks,
        notebook_times,
    )
}

if __name__ == "__main__":
    main()
