"""Numbers of a result in JSON: NaN is null there, and few digits are enough."""

from typing import Any


def number(value: int | float | None) -> int | float:
    """A number that was read from JSON; null is NaN."""
    return float("nan") if value is None else value


def rounded(value: Any, digits: int) -> Any:
    """The same value with all its floats rounded to `digits` significant digits; tuples become
    lists."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
