"""Convert settings to plain values and back, and check them."""

import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from gcnlab.arguments import flag, items, nearest, number, shown, whole


def to_plain(value: Any) -> Any:
    """Convert to dictionaries, lists, numbers and strings, as JSON and checkpoints hold them."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(cls: type, values: Any, prefix: str) -> Any:
    """Make a dataclass of settings from plain values.

    Args:
        cls: the dataclass.
        values: the settings by name.
        prefix: put before the name of a setting in errors, such as "training.".

    Raises:
        ValueError: a setting is unknown, missing or out of range.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"{prefix.removesuffix('.') or 'the settings'} must be a dictionary, not {shown(values)}"
        )
    known = {f.name: f for f in fields(cls)}
    arguments = {}
    for name, value in values.items():
        if name not in known:
            meant = nearest(prefix + str(name), [prefix + other for other in known])
            raise ValueError(f"unknown setting {prefix}{name}{meant}")
        kind = known[name].type
        if is_dataclass(kind):
            value = from_plain(kind, value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(value)
        elif name == "root" and value is not None:
            value = Path(value)
        arguments[name] = value
    return cls(**arguments)


def settle(settings: Any, prefix: str) -> None:
    """Convert the values of a dataclass to the declared types; call it first in `__post_init__`.

    NumPy numbers become Python numbers, lists become tuples, strings become paths.

    Raises:
        ValueError: a value cannot be converted; the error names the setting after `prefix`.
    """
    for f in fields(settings):
        value = _settled(prefix + f.name, getattr(settings, f.name), f.type)
        object.__setattr__(settings, f.name, value)  # the dataclass is frozen


def _settled(name: str, value: Any, kind: Any) -> Any:
    union = get_origin(kind) in (Union, types.UnionType)
    kinds = get_args(kind) if union else (kind,)
    if value is None and types.NoneType in kinds:
        return None
    for one in kinds:
        if get_origin(one) is tuple and items(value) is not None:
            return _settled_tuple(name, items(value), get_args(one))
    if int in kinds:
        return whole(name, value)
    if float in kinds:
        return float(number(name, value))
    if bool in kinds:
        return flag(name, value)
    if Path in kinds or str in kinds:
        if not isinstance(value, str | Path):
            raise ValueError(f"{name} must be a string, not {shown(value)}")
        return Path(value) if Path in kinds else str(value)
    if any(get_origin(one) is tuple for one in kinds):
        raise ValueError(f"{name} must be several values, not {shown(value)}")
    return value  # a choice of names or nested settings, which check themselves


def _settled_tuple(name: str, values: list, kinds: tuple) -> tuple:
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(values)
    if len(values) != len(kinds):
        raise ValueError(f"{name} must be {len(kinds)} values, not {shown(tuple(values))}")
    return tuple(_settled(name, value, kind) for value, kind in zip(values, kinds))


def check(name: str, good: bool, expected: str) -> None:
    """Raise ValueError with the name of the setting unless `good`."""
    if not good:
        raise ValueError(f"{name} must be {expected}")


def check_choice(name: str, value: Any, choices: tuple) -> None:
    """Raise ValueError with the name of the setting unless its value is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: unknown {shown(value)}; choose one of {', '.join(choices)}")


def check_kind(name: str, value: Any, kind: type) -> None:
    """Raise ValueError with the name of the setting unless its value is an instance of `kind`."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, not {shown(value)}")
