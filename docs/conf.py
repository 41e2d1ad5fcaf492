"""Settings of Sphinx, which `docs/build.py` calls. It shows notebooks as committed, without a run."""

project = "gcnlab"
author = "The gcnlab developers"
copyright = author

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
html_theme = "furo"
html_title = "gcnlab"
html_static_path = ["static"]
html_css_files = ["site.css"]

nb_execution_mode = "off"
# Show a saved widget as an image: without a kernel the widget would not respond.
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", -1),
]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "imported-members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "code"


def drop_inherited(app, what, name, obj, options, lines):
    """Drop inherited docstrings, such as PyTorch's for every `forward`."""
    if what == "method" and obj.__doc__ is None:
        lines.clear()


def setup(app):
    app.connect("autodoc-process-docstring", drop_inherited)
