"""Write the result of a benchmark on one image, with its provenance."""

import time
from pathlib import Path
from typing import Any

from gcnlab.provenance import provenance, write_json


def write_record(
    values: dict[str, Any],
    path: Path | None,
    began: float,
    dataset: str = "shapes",
    split: str = "test",
) -> None:
    """Write a result to a JSON file; nothing without a path.

    Args:
        values: the result.
        path: the file, or None.
        began: `time.perf_counter()` at the start of the benchmark.
        dataset, split: the source of the images.
    """
    if path is None:
        return
    seconds = time.perf_counter() - began
    record = provenance(seeds=[0], dataset=dataset, split=split, device="cpu", seconds=seconds)
    write_json(values | {"provenance": record}, path)
