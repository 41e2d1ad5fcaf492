"""Compare the exact with the plain method on many networks, as a result with provenance.

    python -m tests.receptive.survey random --networks 2000 --workers 2    data/results/receptive/random.json
    python -m tests.receptive.survey others                                data/results/receptive/others.json

`python docs/tables.py` shows both in `docs/networks.md`.

*random*: random networks (`tests.receptive.networks`) in double precision, one field each, with a window, stride,
pixel and fill drawn at random. A network counts as *local* (all of it reused), *partly whole*, or *plain* (every
window runs the network). The theoretical field, where it is known, has to hold the gradient of four units each.
*others*: networks of torchvision, timm and segmentation_models_pytorch, one thread, one field; both ways are timed
in the same process, one after the other.
"""

import argparse
import multiprocessing
import re
import time
import warnings
from collections import Counter
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from random import Random

import torch

from gcnlab.provenance import provenance, write_json
from gcnlab.receptive import Occlusion, OcclusionSettings, gradient_field
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.theoretical import field_of
from tests.receptive.networks import LAYERS, random_network
from tests.receptive.others import OTHERS, SIDE, build

RESULTS = Path("data/results/receptive")


def compare(seed: int) -> dict:
    """Compare the methods on one random network, and its gradients with the theoretical field."""
    torch.set_num_threads(1)
    drawn, d = random_network(seed), Random(f"field {seed}")
    rows, columns = drawn.size
    size = tuple(drawn.image.shape[-2:])
    window = tuple(d.randint(1, n) for n in size)
    stride = tuple(d.randint(max(1, w // 3), w) for w in window)
    pixel = d.randrange(rows), d.randrange(columns)
    target = d.randrange(3)
    settings = OcclusionSettings(window, stride, d.choice([0.0, -1.5]))
    found = {"seed": seed, "kinds": drawn.kinds, "operations": [], "reason": ""}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            graph = Graph(drawn.model, drawn.image[None])
        except NotTraceable:
            graph = None
        exact = Occlusion(drawn.model, drawn.image, graph=graph)
        batch = replace(settings, batch_size=d.randint(1, 16))
        field = exact.field(pixel, target, batch)
        plain = Occlusion(drawn.model, drawn.image, reuse=False).field(pixel, target, settings)
    found["warnings"] = [str(w.message) for w in caught if "every window runs" in str(w.message)]
    if "every window runs the whole network" in field.note:
        found["way"], found["reason"] = "plain", field.note.split(": ", 1)[1].split(";")[0]
    else:
        found["operations"] = [kind(o.name) for o in graph.operations if not o.local]
        found["way"] = "partly whole" if found["operations"] else "local"
    scale = max(plain.discrepancy.abs().max().item(), 1e-12)
    found["difference"] = (field.discrepancy - plain.discrepancy).abs().max().item() / scale
    theory = field_of(graph) if graph is not None else None
    found["theory"] = (
        "not exported" if theory is None else (theory.unknown_beyond and "unknown") or "known"
    )
    found["cause"] = kind(theory.unknown_beyond) if theory and theory.unknown_beyond else ""
    found["outside"] = 0
    if found["theory"] == "known":
        for _ in range(4):
            unit = d.randrange(rows), d.randrange(columns)
            found["outside"] += not holds(
                theory.box(unit), gradient_field(drawn.model, drawn.image, unit, 0)
            )
    return found


def kind(name: str) -> str:
    """The operation in "layers.1 (view)"."""
    return re.split(r"[()]", name)[-2] if "(" in name else name


def holds(box: tuple[int, int, int, int], gradient: torch.Tensor) -> bool:
    """Whether the box holds all pixels with a gradient."""
    seen = gradient.nonzero()
    if not len(seen):
        return True
    (top, left), (bottom, right) = seen.amin(0).tolist(), seen.amax(0).tolist()
    return box[0] <= top and bottom < box[1] and box[2] <= left and right < box[3]


def survey_random(networks: int, workers: int, out: Path) -> None:
    start, found = time.perf_counter(), []
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for number, one in enumerate(pool.imap_unordered(compare, range(networks), 8), start=1):
            found.append(one)
            if one["difference"] > 1e-4 or one["outside"] or one["warnings"]:
                print(one, flush=True)
            if number % 50 == 0 or number == networks:
                write_random(found, out, time.perf_counter() - start)
                print(f"{number} networks, {time.perf_counter() - start:.0f} s", flush=True)


def write_random(found: list[dict], out: Path, seconds: float) -> None:
    kinds = Counter(kind for one in found for kind in one["kinds"])
    plain = Counter(
        re.sub(r"^\S+ \((\w+)\)", r"\1", one["reason"]) for one in found if one["way"] == "plain"
    )
    values = {
        "networks": len(found),
        "ways": Counter(one["way"] for one in found),
        "why_plain": dict(plain.most_common()),
        "run_as_a_whole_in_networks": dict(
            Counter(o for one in found for o in set(one["operations"])).most_common()
        ),
        "largest_difference": max(one["difference"] for one in found),
        "differ_by_more_than_1e-4": [one["seed"] for one in found if not one["difference"] <= 1e-4],
        "failed_their_check": [one["seed"] for one in found if one["warnings"]],
        "theoretical_field": Counter(one["theory"] for one in found),
        "theoretical_field_unknown_beyond": dict(
            Counter(one["cause"] for one in found if one["cause"]).most_common()
        ),
        "gradient_outside_the_theoretical_field": [one["seed"] for one in found if one["outside"]],
        "layers": {layer.__name__: kinds[layer.__name__] for layer in LAYERS},
        "provenance": provenance(
            seeds=[0, max(one["seed"] for one in found)],
            dataset="random networks and images (tests/receptive/networks.py), double precision",
            split="one field each",
            device="cpu",
            seconds=seconds,
        ),
    }
    write_json(values, out)


def survey_others(out: Path, rounds: int) -> None:
    torch.set_num_threads(1)
    start, rows = time.perf_counter(), []
    for name in OTHERS:
        net = build(name)
        image = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
        pixel, settings = (SIDE // 2, SIDE // 2), OcclusionSettings(32, 16)
        began = time.perf_counter()
        exact = Occlusion(net, image)
        exact.self_check(pixel, settings)
        prepared, graph = time.perf_counter() - began, exact._net.graph if exact._net else None
        seconds, fields = {"exact": [], "plain": []}, {}
        for _ in range(rounds):
            for way in seconds:
                began = time.perf_counter()
                reuse = way == "exact" and graph is not None
                occlusion = Occlusion(net, image, reuse=reuse, graph=graph)
                fields[way] = occlusion.field(pixel, 1, replace(settings, method=way)).discrepancy
                seconds[way].append(time.perf_counter() - began)
        double, large = net.double(), image.double()
        doubles = [
            Occlusion(double, large, reuse=r).field(pixel, 1, settings) for r in (True, False)
        ]
        row = {
            "network": name,
            "note": exact.note,
            "run_as_a_whole": []
            if graph is None
            else [o.name for o in graph.operations if not o.local],
            "operations": None if graph is None else len(graph.operations),
            "prepare_seconds": prepared,
            "seconds": {way: min(times) for way, times in seconds.items()},
            "times_as_fast": min(seconds["plain"]) / min(seconds["exact"]),
            "difference": relative(fields["exact"], fields["plain"]),
            "difference_in_double_precision": relative(*(f.discrepancy for f in doubles)),
        }
        rows.append(row)
        print(name, f"× {row['times_as_fast']:.2f}", row["difference"], row["difference_in_double_precision"],
              len(row["run_as_a_whole"]), row["note"][:120], flush=True)  # fmt: skip
        record = provenance(
            seeds=[0], dataset=f"noise, {SIDE} px, 49 windows of 32 px every 16", split="one field",
            device="cpu", seconds=time.perf_counter() - start,
        )  # fmt: skip
        for package in ("timm", "segmentation-models-pytorch"):
            record["versions"][package] = metadata.version(package)
        write_json({"rows": rows, "rounds": rounds, "provenance": record}, out)


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two fields, as a share of the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["random", "others"])
    parser.add_argument(
        "--networks", type=int, default=2000, help="random networks, by seed from 0 on"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes for the random networks")
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--out", type=Path, help="default: data/results/receptive/WHAT.json")
    chosen = parser.parse_args()
    out = chosen.out or RESULTS / f"{chosen.what}.json"
    if chosen.what == "random":
        survey_random(chosen.networks, chosen.workers, out)
    else:
        survey_others(out, chosen.rounds)


if __name__ == "__main__":
    main()
