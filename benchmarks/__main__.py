"""Run benchmarks one after the other; each writes its result below data/results."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = {
    "train": "bench/train.json",
    "infer": "bench/infer.json",
    "vrf": "bench/vrf.json",
    "graph": "bench/graph.json",
    "atlas": "bench/atlas.json",
    "explorer": "bench/explorer.json",
    "data": "bench/data.json",
    "head_cost": "bench/cost.json",
    "network_cost": "cost.json",
    "allocator": "bench/allocator.json",
    "inference_memory": "bench/inference-memory.json",
    "padding": "bench/padding.json",
}
"""Each benchmark and the file below data/results that holds its result."""


def summary(name: str) -> str:
    """The first line of a benchmark's docstring; the benchmark is not imported."""
    source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def main(names: list[str]) -> int:
    """Run the named benchmarks ("all" runs every one); without a name, list them.

    Returns:
        The exit status: 0, or that of the first benchmark that fails.
    """
    if not names:
        print("python -m benchmarks NAME …, or all:\n")
        for name in RESULTS:
            print(f"  {name:<18}{summary(name)}")
        return 0
    names = list(RESULTS) if names == ["all"] else names
    if unknown := [name for name in names if name not in RESULTS]:
        print(
            f"benchmarks: unknown benchmark {unknown[0]!r}; choose all, or some of {', '.join(RESULTS)}",
            file=sys.stderr,
        )
        return 2
    for name in names:
        out = Path("data", "results", RESULTS[name])
        command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(out)]
        if status := subprocess.run(command, cwd=ROOT).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
