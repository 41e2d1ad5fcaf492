"""Predict and score: inference modes, dense CRF, mean IoU, boundary and interior, submissions.

The names are in `__init__.pyi`; each is imported when it is first used.
"""

from gcnlab.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
