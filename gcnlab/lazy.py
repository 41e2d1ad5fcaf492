"""Import a package's public names when they are first used, so that `import gcnlab` takes no time.

Each package lists its public names in `__init__.pyi`, as ordinary imports that editors and type
checkers read. (The library lazy-loader does the same; training must also run where only PyTorch is
installed.)
"""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_exports(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for a package (PEP 562).

    Args:
        package: `__name__` of the package.
        file: its `__file__`; the stub `__init__.pyi` is beside it.
    """
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    module_of = {alias.name: node.module for node in imports for alias in node.names}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if module_of[name] is None:  # `from . import models`: a subpackage
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    names = sorted(name for name, module in module_of.items() if module is not None)
    return get, lambda: sorted(module_of), names
