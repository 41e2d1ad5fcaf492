"""Tensor shapes in signatures.

`Float[Tensor, "batch channels height width"]` reads as documentation and is checked at run time by
the test suite (jaxtyping + beartype). A bare GPU image has neither; training must run there too, so
without jaxtyping an annotation is simply the type it starts with.
"""

from torch import Tensor

try:
    from jaxtyping import Bool, Float, Int, Shaped, UInt8
except ModuleNotFoundError:

    class _TypeOnly:
        """`_TypeOnly[Tensor, "height width"]` is `Tensor`."""

        def __class_getitem__(cls, item):
            return item[0]

    Bool = Float = Int = Shaped = UInt8 = _TypeOnly

__all__ = ["Bool", "Float", "Int", "Shaped", "Tensor", "UInt8"]
