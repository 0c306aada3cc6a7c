"""A list of tokens to be retired, for the task that works on files: a row is a token ID. The console has made the list
itself, of tokens that were available (accounts/retirements.py), so nothing can be wrong with a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from otp_core.accounts import Principal
from otp_core.imports.importers import PER_TRANSACTION, Write
from otp_core.imports.table import RowProblem


class TokenRetirer:
    """Retires tokens (see ``Importer``)."""

    noun = "token"

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def read(self, lines: Iterable[str], encoding: str) -> Iterator[str | RowProblem]:
        """See ``Importer.read``."""
        return (line.rstrip("\n") for line in lines)

    def check(self, rows: Sequence[str]) -> tuple[list[RowProblem], int]:
        """See ``Importer.check``. What is not available any more is found when it is written."""
        return [], 0

    def prepare(self, rows: Sequence[str]) -> Write:
        """See ``Importer.prepare``. Tokens that are not available any more are not counted."""
        return lambda desk: desk.tokens.retire_available(rows, self._principal)

    def per_transaction(self) -> int:
        """See ``Importer.per_transaction``."""
        return PER_TRANSACTION

    def name_of(self, row: str) -> str:
        """See ``Importer.name_of``."""
        return row
