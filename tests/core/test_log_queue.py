"""A reader of the log that stands still costs lines, and never whoever writes them."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from otp_core import log_queue
from otp_core.log_queue import MAX_LINE, MAX_LINES, LineQueue
from otp_core.unseen import unseen

LONG = 20.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small pipe that is full, as one is whose reader stands still: its two ends."""
    out, into = os.pipe()
    size = fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(into, False)
    assert os.write(into, b"." * (size - 1) + b"\n") == size
    os.set_blocking(into, True)
    yield out, into
    for end in (out, into):
        os.close(end)


def read_until(out: int, last: bytes) -> list[bytes]:
    """The lines of a pipe, the one with ``last`` in it included."""
    found = b""
    while last not in found:
        found += os.read(out, 65536)
    return found.splitlines()


def test_lines_wait_for_a_reader_that_stands_still_and_nobody_waits_with_them(pipe: tuple[int, int]) -> None:
    queue = LineQueue(pipe[1], lambda counts: None)
    for number in range(100):
        queue.put("info", f"line {number}")  # the old log would never return from this
    assert not queue.flush(0.05)
    assert read_until(pipe[0], b"line 99")[1:] == [b"line %d" % number for number in range(100)]
    assert queue.flush(LONG)
    queue.close()


def test_a_journal_that_hangs_is_not_waited_for() -> None:
    """Standard error is then a socket (systemd's StandardError=journal)."""
    journal, into = socket.socketpair()
    with journal, into:
        into.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                into.send(b"." * 4096)
        into.setblocking(True)
        queue = LineQueue(into.fileno(), lambda counts: None)
        for number in range(100):
            queue.put("info", f"line {number}")
        assert not queue.flush(0.05)
        found = b""
        while b"line 99" not in found:
            found += journal.recv(65536)
        assert queue.flush(LONG)
        queue.close()


def test_what_has_no_room_is_dropped_and_its_number_told_for_each_level(pipe: tuple[int, int]) -> None:
    told: list[dict[str, int]] = []

    def tell(counts: dict[str, int]) -> None:
        told.append(counts)
        queue.put("warning", f"told {counts}")

    queue = LineQueue(pipe[1], tell)
    queue.put("info", "first")  # perhaps in the hands of the thread already, with some more
    for _ in range(MAX_LINES + 1000):
        queue.put("info", "more")
    for _ in range(3):
        queue.put("error", "bad")
    assert not told
    lines = read_until(pipe[0], b"told")
    assert queue.flush(LONG)
    (counts,) = told
    assert counts["error"] == 3 and 1000 - select.PIPE_BUF // len("more\n") <= counts["info"] <= 1001
    assert len([line for line in lines if line == b"more"]) + counts["info"] == MAX_LINES + 1000
    queue.close()


def test_long_lines_are_bounded_by_their_octets(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "MAX_OCTETS", 3 * MAX_LINE)
    told: list[dict[str, int]] = []
    queue = LineQueue(pipe[1], told.append)
    for _ in range(10):
        queue.put("debug", "お" * MAX_LINE)
    queue.close()
    read_until(pipe[0], b"(cut)")
    while not queue.flush(0.01):  # to its end: a later test may be given the numbers of this pipe's descriptors
        if select.select([pipe[0]], [], [], 0.01)[0]:
            os.read(pipe[0], 1 << 20)
    assert told[0]["debug"] in (6, 7)


def test_many_lines_are_written_a_few_at_a_time_and_each_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one write as much as a pipe takes at once: another process writes into the same one."""
    monkeypatch.setattr(log_queue, "REST_SECONDS", 1.0)
    journal, into = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with journal, into:
        queue = LineQueue(into.fileno(), lambda counts: None)
        queue.put("info", "first")
        assert journal.recv(65536) == b"first\n", "at once"
        for number in range(1000):
            queue.put("info", f"line {number:04}")
        journal.setblocking(False)
        with pytest.raises(BlockingIOError):
            journal.recv(65536)
        journal.setblocking(True)
        queue.close()
        found: list[bytes] = []
        while not found or b"line 0999" not in found[-1]:
            found.append(journal.recv(65536))
        assert max(map(len, found)) <= select.PIPE_BUF < 2 * min(map(len, found[:-1]))
        assert b"".join(found).split() == [word for n in range(1000) for word in (b"line", b"%04d" % n)]


def test_the_thread_does_not_rest_while_more_waits_than_it_would_keep_up_with(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or short lines, of which there may be many before their octets are, would be dropped beside an idle reader."""
    monkeypatch.setattr(log_queue, "REST_SECONDS", LONG)
    queue = LineQueue(pipe[1], lambda counts: None)
    for number in range(MAX_LINES - 1):
        queue.put("info", f"{number:063}")
    found = 0
    while found < 64 * MAX_LINES - 3 * log_queue.RESTS_BELOW:
        assert select.select([pipe[0]], [], [], LONG / 2)[0], "it rests"
        found += len(os.read(pipe[0], 4096))
    queue.close()
    read_until(pipe[0], b"%063d" % (MAX_LINES - 2))


@pytest.mark.parametrize("stream", ["closed", "no reader", "full disk"])
def test_a_log_that_cannot_be_written_is_no_error(stream: str) -> None:
    out, into = os.pipe()
    if stream == "full disk":
        os.close(into)
        into = os.open("/dev/full", os.O_WRONLY)
    os.close(out)
    if stream == "closed":
        os.close(into)
        into = 1_000_000
    queue = LineQueue(into, lambda counts: None)
    queue.put("info", "lost")
    assert queue.flush(LONG)
    queue.close()
    if stream != "closed":
        os.close(into)


def test_a_pipe_that_somebody_made_non_blocking_loses_no_line(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    queue = LineQueue(pipe[1], lambda counts: None)
    queue.put("info", "patient")
    assert not queue.flush(0.05)
    assert read_until(pipe[0], b"patient")[1:] == [b"patient"]
    queue.close()


def test_a_forked_process_writes_its_own_lines_and_none_of_its_parents(pipe: tuple[int, int]) -> None:
    queue = LineQueue(pipe[1], lambda counts: None)
    queue.put("info", "of the parent")
    pid = os.fork()
    if not pid:
        queue.put("info", "of the child")
        os._exit(0 if queue.flush(LONG) else 1)
    queue.put("info", "the last")
    lines = read_until(pipe[0], b"child")
    if b"the last" not in lines:
        lines += read_until(pipe[0], b"the last")
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(lines[1:]) == [b"of the child", b"of the parent", b"the last"]
    queue.close()


LIBRARIES = """
import logging, sys, threading, warnings
from otp_core import logs
from otp_core.unseen import unseen

logs.configure("info", "json")
before = sys.stdout, sys.stderr
with logs.everything():
    warnings.warn("old-fashioned", UserWarning)
    print("printed", end="")
    sys.stdout.flush()
    logging.getLogger("aiohttp.server").error("%s of a library", "a line")
    logging.getLogger("aiohttp.server").error("does %s not %s fit", "this")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("asyncio").exception("failed")
    thread = threading.Thread(target=lambda: print([][1]))
    thread.start()
    thread.join()
assert (sys.stdout, sys.stderr) == before
"""


def test_what_libraries_print_or_log_becomes_lines_of_the_log() -> None:
    """All of it would otherwise go to standard error by itself, and stand still with its reader."""
    done = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    said = [line["event"] for line in lines]
    assert any("old-fashioned" in one for one in said) and "printed" in said and "a line of a library" in said
    assert any("IndexError" in one for one in said), "of the thread"
    failed = next(line for line in lines if line["event"] == "failed")
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError" and failed["logger"] == "asyncio"
    assert "a library's log line could not be written" in said


def test_a_stream_without_a_descriptor_is_written_too() -> None:
    stream = io.StringIO()
    queue = LineQueue(stream, lambda counts: None)
    queue.put("info", "お客さま")
    assert queue.flush(LONG)
    assert stream.getvalue() == "お客さま\n"
    queue.close()


def test_without_standard_error_nothing_is_written_anywhere() -> None:
    """Its number may by then be that of another file: the store, for one."""
    queue = LineQueue(None, lambda counts: None)
    queue.put("info", "lost")
    assert queue.flush(0)


UNSEEN = ["\x1b[31m", "\x00", "\x7f", "\x9b2J", "\u2028", "\u202e", "\U000e0041", "\n2026 forged", "a \x1b b"]

_HOSTILE = """
import structlog
from otp_core import logs
logs.configure("info", sys.argv[1])
hostile = ascii_to_text(sys.argv[2])
structlog.get_logger("x").info("verdict", nas=hostile)
structlog.get_logger("x").info("said " + hostile)
try:
    raise ValueError(hostile)
except ValueError:
    structlog.get_logger("x").exception("failed", nas=hostile)
logs.flush()
"""


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("hostile", UNSEEN, ids=ascii)
def test_nothing_from_outside_controls_the_terminal_that_the_log_is_read_on(form: str, hostile: str) -> None:
    program = "import sys, json\nascii_to_text = json.loads\n" + _HOSTILE
    done = subprocess.run(
        [sys.executable, "-c", program, form, json.dumps(hostile)], capture_output=True, text=True, check=True
    )
    lines = done.stderr.removesuffix("\n").split("\n")
    assert all(unseen(line) is None for line in lines)
    assert not any(line.startswith("2026 forged") for line in lines[:2])
    if form == "json":
        said = [json.loads(line) for line in lines]
        assert [said[0]["nas"], said[1]["event"], said[2]["nas"]] == [hostile, "said " + hostile, hostile]
