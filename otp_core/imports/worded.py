"""What is wrong with a row, in English, with what it was put together from: so that a page can say it in its reader's
language, and a command shows it as it is. The English texts are keys of the pages' catalogue. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

Shape = str | list[object]
"""A text for JSON: itself where nothing is known of it, else [template, {name: Shape}]."""


class Worded(str):
    """English text. ``template``: with ``%(name)s`` where ``values`` stand."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, str]


def worded(template: str, **values: object) -> Worded:
    """The text of a template. A value that is worded itself is translated for itself."""
    found = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
    text = Worded(template % found if found else template)
    text.template, text.values = template, found
    return text


def message_of(error: Exception) -> str:
    """What an exception says, worded where it was raised with such a text: ``str`` would drop that."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, Worded) else str(error)


def shape_of(text: str) -> Shape:
    """The text for JSON."""
    if not isinstance(text, Worded):
        return text
    return [text.template, {name: shape_of(value) for name, value in text.values.items()}]
