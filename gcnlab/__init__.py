"""gcnlab: Global Convolutional Networks for semantic segmentation, and their receptive fields.

    import gcnlab

    run = gcnlab.load("gcn7-seed0")  # a trained network of `gcnlab.pretrained_networks()`
    field = gcnlab.valid_field(run.model, image, pixel=(120, 200))

These are the names that most users need; the subpackages have more. The names are in
`__init__.pyi`; each is imported when it is first used.
"""

from gcnlab.lazy import lazy_exports

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
