"""Settings as plain values and back, and the words for a setting that is out of range."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def to_plain(value: Any) -> Any:
    """Dictionaries, lists, numbers, strings: what JSON and a checkpoint hold."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(cls: type, values: dict[str, Any], prefix: str) -> Any:
    """A dataclass of settings out of plain values.

    Raises:
        ValueError: a setting, named behind `prefix`, does not exist or is out of range.
    """
    known = {f.name: f for f in fields(cls)}
    arguments = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"unknown setting {prefix}{name}")
        kind = known[name].type
        if is_dataclass(kind):
            value = from_plain(kind, value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(value)
        elif name == "root" and value is not None:
            value = Path(value)
        arguments[name] = value
    return cls(**arguments)


def check(name: str, good: bool, expected: str) -> None:
    """Raise ValueError, naming the setting, if it is not `good`."""
    if not good:
        raise ValueError(f"{name} must be {expected}")


def check_choice(name: str, value: Any, choices: tuple) -> None:
    """Raise ValueError, naming the setting, if its value is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name}: unknown {value!r}; choose one of {', '.join(choices)}")
