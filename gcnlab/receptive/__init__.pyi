from .gradient import gradient_field, mean_gradient_field
from .graph import Graph, NotTraceable
from .many import Occluder
from .occlusion import Occlusion, Watch, valid_field
from .region import area_share, centred, coverage, mean_field, region, square_share
from .selfcheck import Check
from .theoretical import AxisField, TheoreticalField, field_of, theoretical_field
from .unit import locate
from .validfield import ValidField

__all__ = [
    "AxisField",
    "Check",
    "Graph",
    "NotTraceable",
    "Occluder",
    "Occlusion",
    "TheoreticalField",
    "ValidField",
    "Watch",
    "area_share",
    "centred",
    "coverage",
    "field_of",
    "gradient_field",
    "locate",
    "mean_field",
    "mean_gradient_field",
    "region",
    "square_share",
    "theoretical_field",
    "valid_field",
]
