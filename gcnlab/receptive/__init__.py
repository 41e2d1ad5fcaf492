"""Receptive fields: what a unit of the score map sees, and what really drives it."""

from gcnlab.receptive.gradient import gradient_field, mean_gradient_field
from gcnlab.receptive.many import Occluder
from gcnlab.receptive.occlusion import Occlusion, ValidField, valid_field
from gcnlab.receptive.region import area_share, centred, coverage, mean_field, region, square_share
from gcnlab.receptive.theoretical import AxisField, TheoreticalField, theoretical_field

__all__ = [
    "AxisField",
    "Occluder",
    "Occlusion",
    "TheoreticalField",
    "ValidField",
    "area_share",
    "centred",
    "coverage",
    "gradient_field",
    "mean_field",
    "mean_gradient_field",
    "region",
    "square_share",
    "theoretical_field",
    "valid_field",
]
