"""Receptive fields: which part of the image a unit of the score map can see, and which part drives
it.

The names are in `__init__.pyi`; each is imported when it is first used.
"""

from gcnlab.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
