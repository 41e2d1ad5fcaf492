"""Valid fields of one network on many images.

The network's graph depends on the size of the image only: a session makes it once. That takes about
a tenth of a second, or several seconds for a network that has to be exported
(`gcnlab.receptive.graph`).
"""

from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.occlusion import Occlusion
from gcnlab.receptive.unit import check_image


class OcclusionSession:
    """Create an `Occlusion` for each of many images:
    `OcclusionSession(model).on(image).field(pixel)`.

    The graph for the latest image size is kept, so images of one size should follow each other.

    Args:
        model: maps images to score maps. Its weights must not change while this object is used.
        reuse: keep activations; see `Occlusion`.
    """

    def __init__(self, model: nn.Module, reuse: bool = True):
        self.model, self.reuse = model, reuse
        self._size: tuple[int, ...] | None = None
        self._graph: Graph | NotTraceable | None = None

    def on(self, image: Float[Tensor, "channels height width"]) -> Occlusion:
        """The occlusion of one image.

        Raises:
            ValueError: the image is not one image, or its score map is not finite.
            TypeError: the model does not return a score map.
        """
        check_image(image)
        if self.reuse and tuple(image.shape) != self._size:
            self._graph, self._size = self._graph_for(image), tuple(image.shape)
        return Occlusion(self.model, image, self.reuse, self._graph)

    def _graph_for(self, image: Tensor) -> Graph | NotTraceable:
        try:
            return Graph(self.model, image[None])
        except NotTraceable as error:
            return error  # it becomes part of the note of the Occlusion
