"""Every call into gcnlab is checked against its signature: shapes by jaxtyping, types by beartype."""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("gcnlab", "beartype.beartype")

# A loaded machine is slow, not wrong: no deadline for a single example.
settings.register_profile("gcnlab", deadline=None)
settings.load_profile("gcnlab")
