from .explorer import VRFExplorer
from .resize import ResizeExplorer

__all__ = [
    "ResizeExplorer",
    "VRFExplorer",
]
