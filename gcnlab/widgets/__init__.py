"""Widgets for JupyterLab: thin controls over pure functions. They need the extra `lab`."""

from gcnlab.widgets.explorer import VRFExplorer

__all__ = ["VRFExplorer"]
