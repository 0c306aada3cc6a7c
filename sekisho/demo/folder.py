"""The demo's folder: a new one, or that of an earlier demo. The demo writes over files by name, so no other will do."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import typer

PEOPLE = "people.json"
"""The first file of a demo, by which its folder is known."""

_UNWRITABLE = frozenset('"\\?#%{}')
"""What would mean something in the settings file, or in the URL of the store."""


def use_folder(folder: Path) -> Path:
    """Make the folder, or take that of an earlier demo. Raises typer.BadParameter for another one, which is left as it
    is, and OSError."""
    if not str(folder).isprintable() or set(str(folder)) & _UNWRITABLE:
        raise typer.BadParameter("choose a folder without quotes, backslashes, ?, #, %, braces and control characters")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH:
        raise typer.BadParameter(f"{folder} belongs to somebody else, or everybody may write there: choose another")
    if any(folder.iterdir()) and not (folder / PEOPLE).exists():
        raise typer.BadParameter(f"{folder} is no demo's and not empty, and a demo writes over files: choose another")
    return folder
