"""Plots: functions that take results and return matplotlib figures. They never run a model.

The public names are listed in `__init__.pyi`; each is imported when it is first used.
"""

from gcnlab.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
