"""Receptive fields: what a unit of the score map sees, and what really drives it."""

from gcnlab.receptive.gradient import gradient_field
from gcnlab.receptive.occlusion import ValidField, valid_field
from gcnlab.receptive.region import coverage, region

__all__ = ["ValidField", "coverage", "gradient_field", "region", "valid_field"]
