"""What a host is examined for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    state: str
    check: str
    text: str


def examine(root: Path, services: Sequence[str]) -> Iterator[Found]:
    yield from ()
