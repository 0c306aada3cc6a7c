"""Makes the first factor of type pam from its settings, and says what is wrong with the service that it names. It asks
nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from otp_core.first_factor.pam.children import Children
from otp_core.first_factor.pam.passwords import PamPasswords, Stack
from otp_core.settings import FirstFactorSettings

FOLDERS = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"))
_OURS = "pam_sekisho.so"
_INCLUDES = re.compile(r"^[ \t]*(?:@include|-?\w+[ \t]+(?:include|substack))[ \t]+(\S+)", re.MULTILINE)
_DEEPEST = 8


def make_pam(section: FirstFactorSettings) -> PamPasswords:
    """Belongs to the running event loop."""
    stack = Stack(section.name, section.service or "", section.timeout)
    return PamPasswords(stack, Children(section.connections, section.max_waiting))


def cycle_of(section: FirstFactorSettings) -> str:
    """Why this service would ask ourselves; empty if it would not, as far as its files tell."""
    if section.type != "pam" or section.service is None:
        return ""
    if _OURS in "\n".join(_lines(section.service, 0)):
        return (
            f"the PAM service {section.service} has {_OURS} in it, so it would ask this server again: name a service "
            "without it"
        )
    return ""


def absence_of(section: FirstFactorSettings) -> str:
    """Said of a service that has no file; empty if it has one."""
    if section.type != "pam" or section.service is None or _file(section.service) is not None:
        return ""
    return (
        f"there is no /etc/pam.d/{section.service}: PAM takes the service other in its place, which refuses "
        "everybody on most machines"
    )


def _lines(service: str, depth: int) -> Iterator[str]:
    """What counts of the service's file, and of those that it includes."""
    file = _file(service)
    if file is None or depth > _DEEPEST:
        return
    try:
        text = re.sub(r"#.*", "", file.read_text(errors="replace"))
    except OSError:
        return
    yield text
    for name in dict.fromkeys(_INCLUDES.findall(text)):
        yield from _lines(Path(name).name, depth + 1)


def _file(service: str) -> Path | None:
    return next((folder / service for folder in FOLDERS if (folder / service).is_file()), None)
