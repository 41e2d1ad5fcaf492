from .explorer import VRFExplorer
from .resize import ResizeExplorer
from .save import save_page

__all__ = [
    "ResizeExplorer",
    "VRFExplorer",
    "save_page",
]
