"""Widgets for JupyterLab that explore receptive fields. They need the extra `lab`."""

from gcnlab.widgets.explorer import VRFExplorer
from gcnlab.widgets.resize import ResizeExplorer

__all__ = ["ResizeExplorer", "VRFExplorer"]
