from .atlas import FieldAtlas
from .atlas_maps import FieldMaps, field_maps, fields_at
from .attribution import captum_occlusion, integrated_gradients
from .fills import fill_image
from .gradient import gradient_field, mean_gradient_field
from .graph import NotTraceable
from .hidden import HiddenLayer, layers_with_maps
from .occlusion import Occlusion, valid_field
from .regions import area, area_share, centred, coverage, mean_field, radius, region, square_share
from .session import OcclusionSession
from .settings import AtlasSettings, OcclusionSettings
from .theoretical import TheoreticalField, theoretical_field
from .validfield import ValidField

__all__ = [
    "AtlasSettings",
    "FieldAtlas",
    "FieldMaps",
    "HiddenLayer",
    "NotTraceable",
    "Occlusion",
    "OcclusionSession",
    "OcclusionSettings",
    "TheoreticalField",
    "ValidField",
    "area",
    "area_share",
    "captum_occlusion",
    "centred",
    "coverage",
    "field_maps",
    "fields_at",
    "fill_image",
    "gradient_field",
    "integrated_gradients",
    "layers_with_maps",
    "mean_field",
    "mean_gradient_field",
    "radius",
    "region",
    "square_share",
    "theoretical_field",
    "valid_field",
]
