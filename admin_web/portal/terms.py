"""The terms of use: the bank's text file, its version, its paragraphs. Read again when the file has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from admin_web.settings import WebSettings
from otp_core.model import Language
from otp_core.settings import Problem

_MAX_BYTES = 40_000
"""A longer text makes a page that is slow to load on a phone."""

_MAX_VERSION = 60
"""Characters of a version that the audit trail and the store keep."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A text of the terms. ``version``: what customers accept."""

    version: str
    paragraphs: tuple[str, ...]


def version_of(settings: WebSettings) -> str | None:
    """The version in force; None where no terms are asked for. It is that of the Japanese text, in whichever language
    the terms are read. Raises OSError or UnicodeDecodeError."""
    return None if settings.terms_file is None else _read(settings.terms_file).version


def terms(settings: WebSettings, language: Language) -> Terms | None:
    """The terms in a language, Japanese where there is no translation; None where no terms are asked for. Raises
    OSError or UnicodeDecodeError."""
    if settings.terms_file is None:
        return None
    japanese = _read(settings.terms_file)
    if language is Language.EN and settings.terms_file_en is not None:
        return Terms(japanese.version, _read(settings.terms_file_en).paragraphs)
    return japanese


def terms_problems(settings: WebSettings) -> list[Problem]:
    """Files that cannot be shown, for `config check`."""
    found = []
    for name in ("terms_file", "terms_file_en"):
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        try:
            if not _read(path).paragraphs:
                found.append(Problem("", f"web.{name}", f"{path} is empty: write the terms of use into it"))
            elif path.stat().st_size > _MAX_BYTES:
                found.append(Problem("", f"web.{name}", f"{path} is longer than {_MAX_BYTES} bytes: shorten it"))
        except (OSError, UnicodeDecodeError) as error:
            found.append(Problem("", f"web.{name}", f"{path} cannot be read as UTF-8 text: {error}"))
    return found


def _read(path: Path) -> Terms:
    status = path.stat()
    return _parse(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _parse(path: Path, _mtime_ns: int, _size: int) -> Terms:
    """``_mtime_ns`` and ``_size`` are part of the cache's key only: a changed file is read again."""
    text = path.read_text("utf-8")
    first, _, rest = text.partition("\n")
    if first.lower().startswith("version:"):
        return Terms(first[8:].strip()[:_MAX_VERSION], _paragraphs(rest))
    return Terms(hashlib.sha256(text.encode()).hexdigest()[:12], _paragraphs(text))


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\r\n", "\n").split("\n\n") if part.strip())
