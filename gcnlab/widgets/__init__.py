"""Widgets for JupyterLab: thin controls over pure functions. They need the extra `lab`."""

from gcnlab.widgets.explorer import VRFExplorer
from gcnlab.widgets.resize import ResizeExplorer

__all__ = ["ResizeExplorer", "VRFExplorer"]
