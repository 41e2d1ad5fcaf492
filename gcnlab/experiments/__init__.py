"""Measurements on trained networks: the tables of the paper, object size, coverage and cost.

Each module has one command, its cost, and the type of its result.
"""

from gcnlab.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
