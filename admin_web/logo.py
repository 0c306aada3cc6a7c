"""The bank's logo: a PNG, JPEG or SVG file of the bank's, examined before it is served. Read again when it has changed.

A browser shows it as a picture, in which no script runs; nevertheless an SVG with a script is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

import structlog

from otp_core.settings import Problem

MAX_LOGO_BYTES = 100_000
"""A larger one makes every page slow on a phone."""

LOGO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""The Content-Security-Policy of the file itself, if somebody opens it on its own."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SVG = "http://www.w3.org/2000/svg"
_REFUSED_ELEMENTS = frozenset(("script", "foreignobject", "iframe", "object", "embed"))
_log = structlog.get_logger("http")


class UnusableLogo(Exception):
    """The file is no picture that can be served. The text says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture to serve. ``version``: a hash of it, part of its URL."""

    content: bytes = field(repr=False)
    content_type: str
    version: str


def logo(path: Path | None) -> Logo | None:
    """The logo in a file; None where none is set, or where it cannot be used: then pages do without it, and the log
    says why, once for each state of the file."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return _usable(path, 0, 0)
    return _usable(path, status.st_mtime_ns, status.st_size)


def logo_problems(name: str, path: Path | None) -> list[Problem]:
    """What is wrong with the file that the setting ``name`` names, for `config check`."""
    try:
        if path is not None:
            read_logo(path)
    except UnusableLogo as error:
        return [Problem("", name, str(error))]
    return []


def read_logo(path: Path) -> Logo:
    """Read and examine a file. Raises UnusableLogo."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_LOGO_BYTES + 1)
    except OSError as error:
        raise UnusableLogo(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_LOGO_BYTES:
        raise UnusableLogo(f"{path} is larger than {MAX_LOGO_BYTES} bytes: save it smaller")
    return Logo(content, _type_of(path, content), hashlib.sha256(content).hexdigest()[:12])


@lru_cache(maxsize=8)
def _usable(path: Path, _mtime_ns: int, _size: int) -> Logo | None:
    """``_mtime_ns`` and ``_size`` are part of the cache's key only."""
    try:
        return read_logo(path)
    except UnusableLogo as error:
        _log.warning("the logo cannot be used: pages are shown without it", cause=str(error))
        return None


def _type_of(path: Path, content: bytes) -> str:
    if content.startswith(_PNG) and content[12:16] == b"IHDR":
        return "image/png"
    if content.startswith(_JPEG):
        return "image/jpeg"
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        _examine_svg(path, content)
        return "image/svg+xml"
    raise UnusableLogo(f"{path} is no PNG, JPEG or SVG picture")


def _examine_svg(path: Path, content: bytes) -> None:
    """Raises UnusableLogo for what is not well-formed, no SVG, or more than a picture."""
    parser = expat.ParserCreate(namespace_separator=" ")
    depth = 0

    def refuse(*_: object) -> None:
        raise UnusableLogo(f"{path} has a document type or entities: save it as plain SVG")

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if depth == 0 and name != f"{_SVG} svg":
            raise UnusableLogo(f'{path} is no SVG picture: its first element is not <svg xmlns="{_SVG}">')
        depth += 1
        if name.rpartition(" ")[2].lower() in _REFUSED_ELEMENTS:
            raise UnusableLogo(f"{path} holds <{name.rpartition(' ')[2]}>: save it as plain SVG")
        for attribute, value in attributes.items():
            short = attribute.rpartition(" ")[2].lower()
            if short.startswith("on") or (short == "href" and not value.strip().startswith(("#", "data:image/"))):
                raise UnusableLogo(f"{path} holds the attribute {short}, which is more than a picture needs")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = begin
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise UnusableLogo(f"{path} is no well-formed SVG: {error}") from None
