"""The terms of use: a text file of the bank's, its version, its paragraphs. Read again when the file has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from admin_web.settings import WebSettings
from otp_core.model import Language
from otp_core.settings import Problem

_MOST_BYTES = 40_000
"""Whose page would not be light any more."""


@dataclass(frozen=True, slots=True)
class Terms:
    version: str
    paragraphs: tuple[str, ...]


def version_of(settings: WebSettings) -> str | None:
    """The version that is in force: that of the Japanese text, whatever language it is read in. Raises OSError."""
    return None if settings.terms_file is None else _read(settings.terms_file).version


def terms(settings: WebSettings, language: Language) -> Terms | None:
    """Raises OSError or UnicodeDecodeError."""
    if settings.terms_file is None:
        return None
    ours = _read(settings.terms_file)
    if language is Language.EN and settings.terms_file_en is not None:
        return Terms(ours.version, _read(settings.terms_file_en).paragraphs)
    return ours


def terms_problems(settings: WebSettings) -> list[Problem]:
    """Files that cannot be shown."""
    found = []
    for name in ("terms_file", "terms_file_en"):
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        try:
            if not _read(path).paragraphs:
                found.append(Problem("", f"web.{name}", f"{path} is empty: write the terms of use into it"))
            elif path.stat().st_size > _MOST_BYTES:
                found.append(Problem("", f"web.{name}", f"{path} is longer than {_MOST_BYTES} bytes: shorten it"))
        except (OSError, UnicodeDecodeError) as error:
            found.append(Problem("", f"web.{name}", f"{path} cannot be read as UTF-8 text: {error}"))
    return found


def _read(path: Path) -> Terms:
    status = path.stat()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _parsed(path: Path, _changed: int, _size: int) -> Terms:
    text = path.read_text("utf-8")
    first, _, rest = text.partition("\n")
    if first.lower().startswith("version:"):
        return Terms(first[8:].strip()[:60], _paragraphs(rest))
    return Terms(hashlib.sha256(text.encode()).hexdigest()[:12], _paragraphs(text))


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\r\n", "\n").split("\n\n") if part.strip())
