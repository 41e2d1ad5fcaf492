"""The explorer as a part of a web page, or as a page of its own: everything in one text.

Nothing is fetched, so a page works from a file, in a saved notebook and on a site. Where scripts do
not run, a still picture is shown.
"""

import hashlib
import html
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.widgets.packing import pack_atlas
from gcnlab.widgets.scene import text_of

BROWSER = Path(__file__).parent / "browser"
PARTS = ("fields", "elements", "painting", "panel", "controls", "saving", "facts", "viewer", "page")
"""The files of the browser part, in the order in which they read best."""
NO_SCRIPT = (
    "In a page that runs scripts, the fields follow the mouse: the valid receptive field of every "
    "pixel is in this file."
)


@cache
def viewer_script() -> str:
    """The source of the browser part, without `export`."""
    return "\n".join((BROWSER / f"{name}.js").read_text(encoding="utf-8") for name in PARTS)


@cache
def viewer_style() -> str:
    """The style sheet of the browser part."""
    return (BROWSER / "viewer.css").read_text(encoding="utf-8")


def page_part(
    scene: dict[str, Any],
    atlases: list[tuple[int, AtlasTable, dict[str, Any]]],
    still: str,
    note: str = NO_SCRIPT,
) -> str:
    """An element of a web page that contains the explorer.

    Args:
        scene: see `gcnlab.widgets.scene.pack_scene`.
        atlases: number of the network, its atlas, and more for the browser (see `pack_atlas`); with
            several occluders, a network has several.
        still: HTML that is shown where scripts do not run.
        note: a sentence below it that says what is missed.
    """
    packed = []
    for network, table, extras in atlases:
        small = table.stored_as("int8") if table.precision == "float32" else table
        facts, numbers = pack_atlas(small, extras)
        packed.append({"network": network, "facts": facts, "numbers": text_of(_deflated(numbers))})
    data = json.dumps({"scene": scene, "atlases": packed, "css": viewer_style()})
    data = data.replace("<", "\\u003c")  # it may not contain the end of the element
    name = f"gcnlab-{hashlib.sha256(data.encode()).hexdigest()[:12]}"
    # A page may contain the same explorer twice; each script starts one that has not been started.
    start = f"""(() => {{
{viewer_script()}
for (const host of document.querySelectorAll(".{name}:not([data-ready])")) {{
  host.dataset.ready = "";
  openPage(host, JSON.parse(host.nextElementSibling.textContent));
}}
}})();"""
    return (
        f'<div class="{name} gcnlab-page">{still}<p><small>{html.escape(note)}</small></p></div>'
        f'<script type="application/json">{data}</script><script>{start}</script>'
    )


def _deflated(data: bytes) -> bytes:
    # Differences of neighbours seldom repeat: this strategy of zlib saves another 5 %.
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return packer.compress(data) + packer.flush()


def whole_page(part: str, title: str) -> str:
    """A web page of its own that contains `part`, in the colours that the reader's system prefers."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{
  background: light-dark(#fff, #16181d);
  color: light-dark(#1b1b1b, #e6e6e6);
  font: 15px/1.45 system-ui, sans-serif;
  margin: 0 auto;
  max-width: 1200px;
  padding: 16px;
}}
h1 {{ font-size: 20px; margin: 0 0 12px; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{part}
</body>
</html>
"""
