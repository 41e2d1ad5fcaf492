"""Valid fields of one network on many images: what the images share is made once.

Exporting the network as a graph takes longer than an image's fields do (a second or several), and depends on the
image's size alone.
"""

from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.occlusion import Occlusion
from gcnlab.receptive.unit import check_image


class Occluder:
    """Makes the `Occlusion` of one image after another: `Occluder(model)(image).field(pixel)`.

    The graph of the latest image size is kept, so images of one size should follow each other.

    Args:
        model: maps images to score maps. Its weights must not change while this is used.
        reuse: see `Occlusion`.
    """

    def __init__(self, model: nn.Module, reuse: bool = True):
        self.model, self.reuse = model, reuse
        self._size: tuple[int, ...] | None = None
        self._graph: Graph | NotTraceable | None = None

    def __call__(self, image: Float[Tensor, "channels height width"]) -> Occlusion:
        """See `Occlusion`, its errors too."""
        check_image(image)
        if self.reuse and tuple(image.shape) != self._size:
            self._graph, self._size = self._export(image), tuple(image.shape)
        return Occlusion(self.model, image, self.reuse, self._graph)

    def _export(self, image: Tensor) -> Graph | NotTraceable:
        try:
            return Graph(self.model, image[None])
        except NotTraceable as error:
            return error  # Occlusion says so in its note
