"""Draw the README's picture, the paper's Figure 3 with our networks.

    python docs/figure3.py docs/static/figure3.png

One object of Shapes, small under the 1×1 head, then enlarged under the 1×1 head and under GCN. The
valid receptive field of its central pixel, the region that holds 80 % of the mass, is bright on the
darkened image. The networks come with the package; the scene is one example.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

import gcnlab
from gcnlab.datasets import SHAPES, Scene, ShapeObject, render
from gcnlab.plots import draw_region
from gcnlab.plots.style import figure_style
from gcnlab.receptive import valid_field
from gcnlab.receptive.regions import region_text

SIDE = 256
KIND = SHAPES.names.index("cross")
PANELS = (
    ("A  1×1", "conv1x1-seed0", 64),
    ("B  1×1, enlarged", "conv1x1-seed0", 176),
    ("C  GCN, k = 7", "gcn7-seed0", 176),
)


def main(out: Path) -> None:
    with figure_style():
        figure = Figure(figsize=(7.8, 2.9))
        for axis, (title, name, size) in zip(figure.subplots(1, len(PANELS)), PANELS):
            run = gcnlab.load(name, "cpu")
            middle = (SIDE // 2, SIDE // 2)
            item = ShapeObject(KIND, (SIDE / 2, SIDE / 2), float(size), 20.0, texture=1)
            image, labels, _ = render(Scene(SIDE, SIDE, 2, (item,)))
            field = valid_field(run.model, run.normalization(image), middle, KIND)
            share = field.coverage(labels == KIND)
            print(f"{title}: covers {share:.0%} of the object")
            draw_region(axis, image / 255, field.region(), middle, f"{title}: {share:.0%} covered")
        figure.supxlabel(f"bright: {region_text()}", fontsize=8)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
