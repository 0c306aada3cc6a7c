"""The server's log: structlog on standard error, as lines for people or as JSON.

Nothing that logs ever waits for whoever reads the log: lines go into a bounded queue, and a thread writes them. It logs
no secret: tracebacks come without local variables.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import structlog

from otp_core.log_queue import LineQueue
from otp_core.unseen import escaped, escaped_in_json, unseen

DROPPED = "log lines were dropped: nobody read them fast enough"

_queue: LineQueue | None = None


class _Node:
    """What every line of this process says of where it is from; empty: nothing."""

    name = ""


def name_node(name: str) -> None:
    """Have every line from now on say which node it is from; processes that are forked later take it over."""
    _Node.name = name


def configure(level: str, format_: str) -> None:
    """Set the log up, once at the start of the process; processes that are forked later take it over. ``level``: debug,
    info, warning, error; ``format_``: text, json."""
    global _queue
    last: list[structlog.typing.Processor]
    if format_ == "json":
        last = [structlog.processors.JSONRenderer(ensure_ascii=False), _escape_json]
    else:
        colors = sys.stderr is not None and sys.stderr.isatty()
        last = [_without_controls, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)]
    if _queue is not None:
        _queue.close()
    _queue = queue = LineQueue(_writer(sys.stderr), _say_dropped)
    structlog.configure(
        processors=[
            _with_node,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without local variables, because they may hold passwords.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
            if format_ == "json"
            else structlog.processors.format_exc_info,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _QueueLogger(queue),
        cache_logger_on_first_use=True,
    )


def _with_node(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if _Node.name:
        event["node"] = _Node.name
    return event


class _Quoted:
    """A value of which the renderer for people writes the quoted form, in which no character works on a terminal."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(self._value)

    def __str__(self) -> str:
        return self._value


def _without_controls(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What comes from outside (a gateway's NAS-Identifier) is an escape where it cannot be seen: it may be read on a
    terminal. The renderer for people quotes by itself where there are blanks."""
    for name, value in event.items():
        if isinstance(value, str) and unseen(value) is not None:
            event[name] = escaped(value, "\n") if name in ("event", "exception") else _Quoted(value)
    return event


def _escape_json(_: object, __: str, line: Any) -> str:
    """JSON's own escapes, for what its renderer leaves as it is: they stand in its strings only."""
    return escaped_in_json(line)


def flush(seconds: float = 1.0) -> None:
    """Wait until all lines are written, or the time is over: at the end of a process."""
    if _queue is not None:
        _queue.flush(seconds)


atexit.register(flush)


@contextlib.contextmanager
def everything() -> Iterator[None]:
    """While a server runs: what libraries and the interpreter itself would write to standard output and standard error
    (warnings, ``logging``, errors in threads and destructors) becomes lines of the log, so that it cannot block."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    root = logging.getLogger()
    handler = _ToStructlog(logging.WARNING)
    root.addHandler(handler)
    sys.stdout, sys.stderr = _LineStream("stdout"), _LineStream("stderr")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        root.removeHandler(handler)


def _fill_descriptors() -> None:
    """Where standard input, output or error is closed, its number would go to the next file that is opened: the store,
    for one, into which some C library may then write its last words."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number


def _say_dropped(counts: dict[str, int]) -> None:
    structlog.get_logger("log").warning(DROPPED, **counts)


class _QueueLogger:
    """What structlog hands finished lines to: one method for each level."""

    def __init__(self, queue: LineQueue) -> None:
        self._put = queue.put

    def debug(self, line: str) -> None:
        self._put("debug", line)

    def info(self, line: str) -> None:
        self._put("info", line)

    def warning(self, line: str) -> None:
        self._put("warning", line)

    def error(self, line: str) -> None:
        self._put("error", line)

    msg = info
    warn = warning
    critical = exception = fatal = failure = error


def _writer(stream: TextIO | None) -> int | TextIO | None:
    """Where the lines go: the descriptor of ``stream``, the stream itself where it has none (a test), or nothing."""
    if stream is None:
        return None  # closed when the program began: by now the descriptor may be another file's
    try:
        return stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return stream


class _ToStructlog(logging.Handler):
    """Lines of libraries that use ``logging``."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(record.levelno, logging.ERROR)
        logger = structlog.get_logger(record.name)
        try:
            logger.log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:  # a record whose arguments do not fit its text
            logger.error("a library's log line could not be written", logger=record.name)


class _LineStream(io.TextIOBase):
    """A text stream whose lines become lines of the log."""

    def __init__(self, name: str) -> None:
        self._name, self._begun = name, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._say(line)
        return len(text)

    def flush(self) -> None:
        begun, self._begun = self._begun, ""
        if begun.strip():
            self._say(begun)

    def writable(self) -> bool:
        return True

    def _say(self, line: str) -> None:
        logger: Any = structlog.get_logger("sekisho")
        logger.warning(line.rstrip(), stream=self._name)
