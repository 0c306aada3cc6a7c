"""The pictures of docs/tour.md from those that the tests have taken: chosen by name, and reduced to few colours, a
third of the octets. Run by ``make tour``.

    python -m tests.web.pictures build/tour
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "tour.md"
COLOURS = 64
"""Enough for text with soft edges on plain paper."""


def shown() -> set[str]:
    """The files that the tour shows or links to."""
    return set(re.findall(r"\btour/([a-z0-9-]+\.(?:png|txt))\b", PAGE.read_text(encoding="utf-8")))


def bring(taken: Path) -> list[str]:
    """Put them beside the tour, and remove what it shows no more. The names of those that no test has taken."""
    folder = PAGE.with_suffix("")
    for file in folder.iterdir():
        if file.name not in shown():
            file.unlink()
    missing = []
    for name in sorted(shown()):
        if not (taken / name).exists():
            missing.append(name)
        elif name.endswith(".png"):
            _reduced(taken / name).save(folder / name, optimize=True)
        else:
            (folder / name).write_bytes((taken / name).read_bytes())
    return missing


def _reduced(picture: Path) -> Image.Image:
    with Image.open(picture) as full:
        return full.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    if missing := bring(Path(sys.argv[1])):
        sys.exit(f"no test has taken: {', '.join(missing)}")
