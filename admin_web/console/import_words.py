"""What is wrong with the rows of a file, in the reader's language, from what the check has kept of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admin_web.languages import Translator


def said(shape: Any, translate: Translator) -> str:
    """The text of a shape (otp_core/imports/worded.py) in the language of ``translate``."""
    if isinstance(shape, str):
        return shape
    template, values = shape
    filled = {name: said(value, translate) for name, value in values.items()}
    return translate(template) % filled if filled else translate(template)


def problem_rows(problems: list[Mapping[str, Any]], translate: Translator) -> list[Mapping[str, Any]]:
    """The problems of a check as the page shows them. ``is_english``: it was kept by a version that kept no more."""
    return [
        {
            "line": one["line"],
            "column": one["column"],
            "message": said(one.get("worded", one["message"]), translate),
            "is_english": not isinstance(one.get("worded"), list),
        }
        for one in problems
    ]
