"""How customers read a moment: on their pages and in their mail alike. Values in, text out; the time zone is given."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

from otp_core.model import Language

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def moment_text(at: float, zone: tzinfo, language: Language) -> str:
    """A moment in seconds since the epoch: ``2026年11月29日 13:38``, or ``29 Nov 2026, 13:38 JST``. Japanese names the
    zone only where it is not Japan's."""
    moment = datetime.fromtimestamp(at, zone)
    name = moment.tzname() or ""
    if language is Language.EN:
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M} {name}".rstrip()
    return f"{moment:%Y年%m月%d日 %H:%M}" + ("" if name == "JST" else f" ({name})")


def day_text(day: date, language: Language) -> str:
    """A day: ``2026年11月29日``, or ``29 Nov 2026``."""
    return f"{day:%Y年%m月%d日}" if language is Language.JA else f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
