"""The scratch folder, to which RELION copies particles (`engine.scratch`)."""

from __future__ import annotations

import os

from stacycle.errors import UserError
from stacycle.files.safe_names import is_shell_safe

# Where Snakemake points TMPDIR for its jobs if it was not set: often small, so no place for all particles.
_SYSTEM_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")


def scratch_folder(setting: str | None) -> str | None:
    """The folder of `engine.scratch` with variables like $TMPDIR filled in; None if it is unset, empty or /tmp.
    Whoever wants all particles in /tmp says so by its name. UserError for a name that RELION's shell would misread."""
    folder = os.path.expandvars(setting or "")
    if not folder or "$" in folder or (folder != setting and folder.rstrip("/") in _SYSTEM_TEMPORARY):
        return None
    if not is_shell_safe(folder):
        fault = f"engine.scratch: RELION would remove more than the folder {folder!r}"
        raise UserError(
            f"{fault}, whose name it gives to a shell unquoted",
            "use a folder without blanks and signs in its name",
        )
    return folder
