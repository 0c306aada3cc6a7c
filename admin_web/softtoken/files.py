"""The app's files, read once: what a browser gets, octet for octet, under one version. No clock, no sockets.

Scripts and styles have the version in their URL, so a page never runs with those of another version: a server that has
another version answers 404. The page, the worker, the watchdog, the icons and the manifest keep their URLs for good.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from admin_web.colours import soft_token_css
from admin_web.logo import LOGO_POLICY, Logo, logo
from admin_web.softtoken.settings import Bank

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
_PAGE = "index.html"
_WORKER = "sw.js"
_WATCHDOG = "boot.js"
_LOGO = "logo"

VERSIONED = "/v/"
"""Under this path lie the files that have their version in the URL."""
LOGO = f"/{_LOGO}"
LASTING_PATHS = (
    "/",
    f"/{_WORKER}",
    f"/{_WATCHDOG}",
    "/manifest.webmanifest",
    "/icon.svg",
    "/icon-192.png",
    "/icon-512.png",
)
"""The paths that every version has. LOGO is not among them: not every bank has one."""


@dataclass(frozen=True, slots=True)
class File:
    """A file with its headers (media type, caching, entity tag)."""

    content: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        """The entity tag, without quotes."""
        return self.headers["ETag"].strip('"')


def app_files(bank: Bank, site_headers: tuple[tuple[str, str], ...]) -> Mapping[str, File]:
    """All files by URL path; the page is "/". What they show of ``bank`` is filled in, and its logo is one of them, if
    it has one. ``site_headers``, which every answer carries, are part of the version: the worker keeps answers with
    their headers, so a change of these has to reach it too. The worker knows the SHA-256 of every file."""
    return _files(bank, logo(bank.logo), site_headers)


@lru_cache(maxsize=4)
def _files(bank: Bank, picture: Logo | None, site_headers: tuple[tuple[str, str], ...]) -> Mapping[str, File]:
    contents = _contents(bank, picture)
    version = _version(contents, picture, site_headers)
    found = {
        _path(name, version): _file(name, content.replace(b"@VERSION@", version.encode()), picture)
        for name, content in contents.items()
    }
    worker = found.pop(f"/{_WORKER}").content
    digests = {path: hashlib.sha256(file.content).hexdigest() for path, file in sorted(found.items())}
    worker = worker.replace(b'"@DIGESTS@"', json.dumps(digests).encode())
    return {**found, f"/{_WORKER}": _file(_WORKER, worker, picture)}


def _contents(bank: Bank, picture: Logo | None) -> dict[str, bytes]:
    """By file name, with the bank filled in."""
    found = {one.name: one.read_bytes() for one in files(__package__).joinpath("static").iterdir()}
    found["bank.css"] = soft_token_css(bank.colour).encode()
    shown = {"ja": bank.name, "en": bank.name_en, "portal": bank.portal, "logo": "" if picture is None else LOGO}
    found["bank.js"] = found["bank.js"].replace(b'"@BANK@"', json.dumps(shown).encode())
    return found if picture is None else {**found, _LOGO: picture.content}


def _version(contents: Mapping[str, bytes], picture: Logo | None, site_headers: tuple[tuple[str, str], ...]) -> str:
    parts = [
        (name, sorted(_file(name, content, picture).headers.items())) for name, content in sorted(contents.items())
    ]
    return hashlib.sha256(json.dumps([parts, sorted(site_headers)]).encode()).hexdigest()[:16]


def _path(name: str, version: str) -> str:
    if name == _PAGE:
        return "/"
    return f"{VERSIONED}{version}/{name}" if _has_version(name) else f"/{name}"


def _has_version(name: str) -> bool:
    return name.endswith((".js", ".css")) and name not in (_WORKER, _WATCHDOG)


def _file(name: str, content: bytes, picture: Logo | None) -> File:
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        # "no-cache": revalidated each time, so that a new version is found at once; mostly the answer is 304.
        "Cache-Control": "public, max-age=31536000, immutable" if _has_version(name) else "no-cache",
    }
    if name == _LOGO and picture is not None:
        return File(content, {**headers, "Content-Type": picture.content_type, "Content-Security-Policy": LOGO_POLICY})
    return File(content, {**headers, "Content-Type": _TYPES[name.rpartition(".")[2]]})
