"""The app's files, read once: what a browser gets, octet for octet, under one version. No clock, no sockets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from admin_web.colours import soft_token_css
from admin_web.logo import Logo, logo
from admin_web.softtoken.settings import Bank

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
_WORKER = "/sw.js"
_PAGE = "/index.html"
LOGO = "/logo"


@dataclass(frozen=True, slots=True)
class File:
    """A file with its media type and entity tag (without quotes)."""

    content: bytes
    content_type: str
    etag: str


def app_files(bank: Bank) -> Mapping[str, File]:
    """All files by URL path; the page is "/". What they show of ``bank`` is filled in, and its logo is one of them, if
    it has one. The service worker's two constants are filled in as well: the paths of the files that it caches, and
    their version, a hash of them all."""
    return _files(bank, logo(bank.logo))


@lru_cache(maxsize=4)
def _files(bank: Bank, picture: Logo | None) -> Mapping[str, File]:
    found = {f"/{one.name}": one.read_bytes() for one in files(__package__).joinpath("static").iterdir()}
    found["/"] = found.pop(_PAGE)
    found["/bank.css"] = soft_token_css(bank.colour).encode()
    shown = {"ja": bank.name, "en": bank.name_en, "portal": bank.portal, "logo": "" if picture is None else LOGO}
    found["/bank.js"] = found["/bank.js"].replace(b'"@BANK@"', json.dumps(shown).encode())
    if picture is not None:
        found[LOGO] = picture.content
    version = hashlib.sha256(b"".join(name.encode() + found[name] for name in sorted(found))).hexdigest()[:16]
    cached = " ".join(sorted(found.keys() - {_WORKER}))
    found[_WORKER] = found[_WORKER].replace(b"@VERSION@", version.encode()).replace(b"@FILES@", cached.encode())
    return {path: _file(path, content, picture) for path, content in found.items()}


def _file(path: str, content: bytes, picture: Logo | None) -> File:
    etag = hashlib.sha256(content).hexdigest()[:32]
    if path == LOGO and picture is not None:
        return File(content, picture.content_type, etag)
    return File(content, _TYPES["html" if path == "/" else path.rpartition(".")[2]], etag)
