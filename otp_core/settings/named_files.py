"""Follows the file names among the settings: completes relative ones, and reads the shared secrets in.

One rule: a relative name is looked for in the secrets folder if it names a secret and there is such a folder, otherwise
beside the settings file. It never looks in two places, and never opens the master key.
"""

from __future__ import annotations

from copy import deepcopy
from os.path import isfile
from pathlib import Path
from typing import Any

from otp_core.settings.sources import Unfit, read_private
from otp_core.settings.toml_lines import Location


def follow(values: dict[str, Any], beside: Path, private: Path) -> tuple[dict[str, Any], dict[Location, str]]:
    """The values with their files followed, and what is wrong with those files, by location.

    The values are not checked yet: what has the wrong type is left as it is. ``beside`` and ``private`` are the folders
    that relative names start from.
    """
    values = deepcopy(values)
    problems: dict[Location, str] = {}
    store, radius = _table(values, "store"), _table(values, "radius")
    if isinstance(key_file := store.get("master_key_file"), str):
        store["master_key_file"] = str(private / key_file)
    served = {"tls_certificate": beside, "tls_key": private, "terms_file": beside, "terms_file_en": beside}
    for section, folders in (
        ("web", served),
        ("soft_token", served),
        ("notices", {"ca_file": beside, "password_file": private}),
    ):
        _follow_files(section, _table(values, section), folders, problems)
    for index, name in enumerate(_list(radius, "dictionary")):
        if isinstance(name, str):
            path = beside / name
            radius["dictionary"][index] = str(path)
            if not isfile(path):  # unlike Path.is_file it takes any name, however long
                problems["radius", "dictionary", index] = f"{path} is not a file"
    for index, client in enumerate(_list(radius, "clients")):
        if isinstance(client, dict) and isinstance(client.get("secret_file"), str):
            try:
                _read_secret(client, private)
            except Unfit as error:
                problems["radius", "clients", index, "secret_file"] = str(error)
    return values, problems


def _follow_files(
    section: str, values: dict[str, Any], folders: dict[str, Path], problems: dict[Location, str]
) -> None:
    """``folders``: where the file of each key is looked for."""
    for key, folder in folders.items():
        if isinstance(name := values.get(key), str):
            path = folder / name
            values[key] = str(path)
            if not isfile(path):
                problems[section, key] = f"{path} is not a file"


def _read_secret(client: dict[str, Any], private: Path) -> None:
    path = private / client["secret_file"]
    client["secret_file"] = str(path)
    if "secret" in client:
        raise Unfit("secret is given as well: keep one of the two")
    client["secret"] = read_private(path)


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.get(name)
    return table if isinstance(table, dict) else {}


def _list(values: dict[str, Any], name: str) -> list[Any]:
    found = values.get(name)
    return found if isinstance(found, list) else []
