"""Every call into gcnlab is checked against its signature: shapes by jaxtyping, types by beartype."""

from jaxtyping import install_import_hook

install_import_hook("gcnlab", "beartype.beartype")
