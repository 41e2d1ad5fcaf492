"""Receptive fields: what a unit of the score map sees, and what really drives it."""

from gcnlab.receptive.gradient import gradient_field, mean_gradient_field
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.many import Occluder
from gcnlab.receptive.occlusion import Occlusion, Watch, valid_field
from gcnlab.receptive.region import area_share, centred, coverage, mean_field, region, square_share
from gcnlab.receptive.selfcheck import Check
from gcnlab.receptive.theoretical import AxisField, TheoreticalField, field_of, theoretical_field
from gcnlab.receptive.unit import locate
from gcnlab.receptive.validfield import ValidField

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
