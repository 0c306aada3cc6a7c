"""Checks and writes the files that staff has brought, and retires lists of tokens, beside the doors: in a thread, a
chunk at a time, one file after another. Several may run on one store, each file with one of them.

A chunk and the note of how far the file is are one transaction. So a task that was killed is gone on with by the next
one where it was, and no row is written twice. Whoever works on a file has claimed it for a while; if that was taken by
somebody else, the chunk is taken back.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import structlog

from otp_core.accounts import Desk, Principal, Refused
from otp_core.accounts.file_imports import FileChoices
from otp_core.audit import ms_of
from otp_core.imports.encodings import foreign_form
from otp_core.imports.importers import CustomerImporter, ElsewhereImporter, Importer, ImportRules, TokenImporter
from otp_core.imports.retirement import TokenRetirer
from otp_core.imports.run import ImportReport, Source, check_file, chunks_to_write
from otp_core.imports.table import RowProblem
from otp_core.imports.worded import shape_of, worded
from otp_core.model import Encoding, SeedForm, StoreUnavailable
from otp_core.sealing import KeyProblem
from otp_core.store import file_imports as statements
from otp_core.store.file_imports import RETIREMENT, FileImport, FileState
from otp_core.store.retry import wait_while_busy
from otp_core.store.store import Store
from otp_core.store.unit_of_work import Work
from otp_core.verifier import LOCAL_VERIFIER

LOOK_SECONDS = 2.0
"""Between two looks for a file, unless somebody wakes the task."""

CLAIM_SECONDS = 30
"""For which a file is claimed; each chunk renews it."""

ROWS_AT_ONCE, ROWS_AT_ONCE_HASHED, TOKENS_AT_ONCE = 250, 10, 50
"""Rows of one transaction, for which a login may have to wait; fewer where each row's password is hashed first, and
tokens that are retired, each by an act of its own: 0.3 ms."""

SHARE = 0.5
"""Of the time, at most, that chunks take: the pages of the same process go on."""

MOST_PROBLEMS = 10_000
"""With which a check ends: it would go on for minutes in a file that is no list at all, and other files wait for it."""

MOST_ATTEMPTS = 5
"""How often a file is begun without any progress."""

TROUBLE_SECONDS = 60.0
"""How long a chunk is tried again that the store does not take."""

_CHECK_REST = 0.02
"""Seconds between two stretches of a check."""

_log = structlog.get_logger("imports")


class Overtaken(Exception):
    """Somebody else works on the file now, or the process ends."""


class ImportTask:
    """One for a process, made in its event loop."""

    def __init__(self, store: Store, desk: Desk, rules: ImportRules) -> None:
        self._store, self._desk, self._rules = store, desk, rules
        self._ending, self._woken = threading.Event(), asyncio.Event()

    def wake(self) -> None:
        """There is a file to be checked or written."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled; a chunk that is under way then is finished first."""
        loop = asyncio.get_running_loop()
        while True:
            step = loop.run_in_executor(None, self.step)
            try:
                worked = await asyncio.shield(step)
            except asyncio.CancelledError:
                self._ending.set()
                await asyncio.wait([step])
                raise
            except StoreUnavailable:
                worked = False  # the login queue logs it
            except Exception:
                _log.exception("a file could not be imported")
                worked = False
            if not worked:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)
                self._woken.clear()

    def step(self) -> bool:
        """Work on the file that waits longest, if there is one, to its end; whether there was. Raises
        StoreUnavailable."""
        now, by = self._now(), self._store.ids.next()
        with self._store.read() as connection:
            key = statements.next_to_work_on(connection, now)
        if key is None or self._ending.is_set():
            return False
        with self._store.work_aside() as work:
            if not statements.claim(work.connection, key, by, now, now + CLAIM_SECONDS * 1000):
                return True
        with self._store.read() as connection:
            found = statements.file_import_of(connection, key)
        assert found is not None
        try:
            Run(self._store, self._desk, self._rules, found, by, self._ending).work()
        except Overtaken:
            with self._store.work_aside() as work:
                statements.let_go(work.connection, key, by)
        while wait_while_busy(self._desk.file_imports.tidy):
            pass
        return True

    def _now(self) -> int:
        return ms_of(self._store.ids.next())


class Run:
    """One file, from its claim to the end of what has to be done with it now. ``by``: the claim."""

    def __init__(
        self, store: Store, desk: Desk, rules: ImportRules, found: FileImport, by: int, ending: threading.Event
    ) -> None:
        self._store, self._desk, self._rules, self._found = store, desk, rules, found
        self._by, self._ending = by, ending
        self._done, self._written = found.done, found.written

    def work(self) -> None:
        """Check it, or write it. Raises Overtaken, StoreUnavailable."""
        found = self._found
        if found.attempts > MOST_ATTEMPTS:
            self._end(FileState.STOPPED, why="failed")
            return
        try:
            file = self._desk.file_imports.opened(found)
            importer = self._importer(self._desk.file_imports.importing(found))
        except KeyProblem:
            _log.error("a file to be imported is not the one that was brought", number=found.key, file=found.file_name)
            self._end(FileState.STOPPED, why="changed")
            return
        except Refused:
            self._end(FileState.STOPPED, why="not-permitted")
            return
        with file:
            if found.state == FileState.CHECKING:
                self._check(importer, file)
            else:
                self._write(importer, file)

    def _importer(self, principal: Principal) -> Importer[Any]:
        if self._found.what == RETIREMENT:
            return TokenRetirer(principal)
        choices = FileChoices(**json.loads(self._found.choices))
        store, skip = self._store, choices.skip_existing
        if self._found.kind == "customers":
            return CustomerImporter(store, self._desk, self._rules, principal, skip, as_typed=choices.as_typed)
        if choices.verifier != LOCAL_VERIFIER and choices.verifier in self._rules.verifiers:
            return ElsewhereImporter(store, principal, skip, choices.verifier, as_typed=choices.as_typed)
        return TokenImporter(store, principal, skip, seeds=SeedForm(choices.seeds), as_typed=choices.as_typed)

    def _check(self, importer: Importer[Any], file: BinaryIO) -> None:
        report, encoding = self._report(importer, file, self._note_octets)
        state = FileState.WRONG if report.problem_count or not report.rows else FileState.CHECKED
        self._end(state, report=report, encoding=encoding)

    def _report(
        self, importer: Importer[Any], file: BinaryIO, advance: Callable[[int], None]
    ) -> tuple[ImportReport, str]:
        """What is found, and the encoding."""
        wrong = worded("the file is empty") if not file.seek(0, 2) else None
        form = foreign_form(file)
        wrong = wrong or (worded("is no CSV but %(form)s", form=form) if form else None)
        if wrong:
            report = ImportReport()
            report.add([RowProblem(1, "", wrong)])
            return report, ""
        named = json.loads(self._found.choices)["encoding"]
        source = Source(file, Encoding(named) if named else None)
        return check_file(importer, source, advance, most_problems=MOST_PROBLEMS), source.encoding

    def _write(self, importer: Importer[Any], file: BinaryIO) -> None:
        """Check it once more, because the store has changed since, and write it from where it has got to."""
        found = self._found
        if not found.done:
            report, encoding = self._report(importer, file, self._hold_between)
            if report.problem_count:
                self._end(FileState.WRONG, report=report, encoding=encoding)
                return
        else:
            self._learn(importer, file)
        at_once = ROWS_AT_ONCE if importer.per_transaction() > ROWS_AT_ONCE else ROWS_AT_ONCE_HASHED
        at_once = TOKENS_AT_ONCE if found.what == RETIREMENT else at_once
        source = Source(file, Encoding(found.facts["encoding"]))
        for rows in chunks_to_write(importer, source, at_once, done=found.done):
            begun = time.monotonic()
            if not self.write_chunk(importer, rows):
                return
            self._rest(time.monotonic() - begun)
        self._end(FileState.DONE)

    def _learn(self, importer: Importer[Any], file: BinaryIO) -> None:
        """What only ``check`` tells the importer: whether there are passwords to hash. Rows that were written already
        are no problem then."""
        check_file(importer, Source(file, Encoding(self._found.facts["encoding"])), self._hold_between)

    def write_chunk(self, importer: Importer[Any], rows: list[Any]) -> bool:
        """Write these rows, with the note of how far it is then, in one transaction. False: it could not be done, and
        the import has ended. Raises Overtaken."""
        until, again = time.monotonic() + TROUBLE_SECONDS, False
        while True:
            try:
                if again and self._was_written(len(rows)):
                    return True
                again = True
                write = importer.prepare(rows)
                with self._desk.together(aside=True) as (joined, work):
                    written = write(joined)
                    self._note(work, self._done + len(rows), self._written + written, lasts=True)
                self._done, self._written = self._done + len(rows), self._written + written
                return True
            except Refused:
                self._end(FileState.STOPPED, why="not-permitted")
                return False
            except (StoreUnavailable, KeyError) as error:
                if time.monotonic() >= until:
                    _log.error("an import was stopped", number=self._found.key, rows=self._done, why=str(error))
                    self._end(FileState.STOPPED, why="store")
                    return False
                self._hold()
                self._rest(1.0)

    def _was_written(self, rows: int) -> bool:
        """Whether the note of these rows is there: a COMMIT whose answer was lost may have been done. Raises
        StoreUnavailable."""
        with self._store.read() as connection:
            found = statements.file_import_of(connection, self._found.key)
        if found is None or found.done < self._done + rows:
            return False
        self._done, self._written = found.done, found.written
        return True

    def _note_octets(self, octets: int) -> None:
        self._done = octets
        with suppress(StoreUnavailable), self._store.work_aside() as work:
            self._note(work, self._done, self._written)
        self._rest(_CHECK_REST)

    def _hold_between(self, _: int) -> None:
        """Between two stretches of a file that is checked once more, of which nothing is noted. Raises Overtaken."""
        self._hold()
        self._rest(_CHECK_REST)

    def _hold(self) -> None:
        """Hold the claim on. How far it is, is left as it stands: a chunk may just have noted it. Raises Overtaken."""
        with suppress(StoreUnavailable), self._store.work_aside() as work:
            if not statements.hold(work.connection, self._found.key, self._by, self._claimed_until()):
                raise Overtaken

    def _note(self, work: Work, done: int, written: int, *, lasts: bool = False) -> None:
        until = self._claimed_until()
        if not statements.advance(work.connection, self._found.key, self._by, until, done, written, lasts=lasts):
            raise Overtaken

    def _claimed_until(self) -> int:
        return ms_of(self._store.ids.next()) + CLAIM_SECONDS * 1000

    def _rest(self, took: float) -> None:
        if self._ending.wait(took * (1 - SHARE) / SHARE):
            raise Overtaken

    def _end(
        self, state: FileState, *, report: ImportReport | None = None, encoding: str = "", why: str | None = None
    ) -> None:
        facts = None
        if report is not None:
            problems = [
                {"line": one.line, "column": one.column, "message": one.message, "worded": shape_of(one.message)}
                for one in report.problems
            ]
            found = {
                "rows": report.rows,
                "skipped": report.to_skip,
                "problem_count": report.problem_count,
                "problems": problems,
                "names": report.names,
                "encoding": encoding,
            }
            facts = json.dumps(found, ensure_ascii=False)
        wait_while_busy(lambda: self._end_once(state, facts, why))

    def _end_once(self, state: FileState, facts: str | None, why: str | None) -> None:
        with self._store.work_aside() as work:
            self._note(work, self._done, self._written)
            self._desk.file_imports.end(work, self._found, state, facts=facts, why=why, written=self._written)
