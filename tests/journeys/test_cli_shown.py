"""What a command shows: on a terminal, in a pipe, as JSON; and who and what the audit trail names."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import segno

from otp_core.accounts import Refused
from otp_core.audit import Event
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF, Sekisho

UTF8 = {"LC_ALL": "C.UTF-8", "TERM": "xterm"}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path, more="[login]\nlock_after = 3\n[throttle]\nfree_failures = 100\n")
    yield CommandLine(sekisho)
    sekisho.close()


def on_terminal(at: CommandLine, *words: str, columns: int = 80, environment: dict[str, str] = UTF8) -> str:
    """What the command prints on a terminal of so many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "PYTHONUTF8")}
    process = subprocess.Popen(at.command(*words), stdin=its, stdout=its, stderr=its, env=clean | environment)
    os.close(its)
    printed = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not piece:
            break
        printed += piece
    os.close(ours)
    assert process.wait(60) == 0, printed
    return printed.decode().replace("\r\n", "\n")


# Lists

HEADS = {
    "customer list": "contract ID",
    "token list": "token ID",
    "session list": "number",
    "notice list": "reference",
}


@pytest.mark.parametrize("words", HEADS)
def test_a_list_in_a_pipe_begins_with_its_headings(words: str, at: CommandLine) -> None:
    at.customer()
    head, *rows = at.run(*words.split()).out.splitlines()
    assert head.split("\t")[0] == HEADS[words]
    assert all(len(row.split("\t")) == len(head.split("\t")) for row in rows)
    assert bool(rows) == (words in ("customer list", "token list"))


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_terminal_is_too_narrow_for_a_whole_cell(at: CommandLine, columns: int) -> None:
    one = at.customer()
    at.sekisho.desk.customers.add("long", STAFF, name="信用金庫" * 12, email=f"{'a' * 60}@example.jp")
    line = json.loads(at.run("token", "show", one.token_id, "--json").out)
    shown = on_terminal(at, "token", "list", columns=columns)
    assert line["last_code"][:19].replace("T", " ") in shown and one.contract_id in shown
    shown += on_terminal(at, "customer", "list", columns=columns)
    assert "信用金庫" * 12 in shown and "…" not in shown


# JSON


def test_json_has_letters_as_they_are_in_utf_8_whatever_the_locale_is(at: CommandLine) -> None:
    at.sekisho.desk.customers.add("１", STAFF, name="信金 太郎 𠮷")
    for locale in ("C", "C.UTF-8", "ja_JP.eucJP"):
        environment = os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        command = at.command("customer", "show", "1", "--json")
        out = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
        assert "信金 太郎 𠮷".encode() in out and json.loads(out)["name"] == "信金 太郎 𠮷"


@pytest.mark.parametrize("letter", ["\x7f", "\x85", "\x9b31m", "\u2028", "\u202e", "\U000e0041", "\ufeff"])
def test_json_controls_no_terminal_and_stays_on_one_line(at: CommandLine, letter: str) -> None:
    at.sekisho.desk.customers.add("c1", STAFF, password_hash=None)
    reason = f"信金{letter}x"  # of a row as older versions wrote it
    with at.sekisho.store.work() as work:
        work.audit(Event.CUSTOMER_LOCKED, actor="sato", customer="c1", reason=reason)
    out = at.run("audit", "--event", "customer.locked", "--json").out
    assert out.removesuffix("\n").isprintable() and "信金" in out
    assert json.loads(out)["reason"] == reason


# A token for an app


def modules_of(printed: str) -> list[list[bool]]:
    """The dark modules of a QR code that is printed with two of them in one character, light on dark."""
    lines = [line for line in printed.splitlines() if line and set(line) <= set(" ▀▄█")]
    rows = []
    for line in lines:
        rows.append([letter in " ▄" for letter in line])
        rows.append([letter in " ▀" for letter in line])
    return rows


def test_a_terminal_shows_the_qr_code_of_an_issued_token_and_a_pipe_does_not(at: CommandLine) -> None:
    printed = on_terminal(at, "token", "issue", "--issuer", "Example Bank", columns=100)
    (uri,) = (line.split()[-1] for line in printed.splitlines() if line.startswith("URI:"))
    wanted = [[bool(module) for module in row] for row in segno.make(uri, error="m").matrix_iter(border=4)]
    assert uri.startswith("otpauth://totp/")
    assert modules_of(printed)[: len(wanted)] == wanted
    assert not modules_of(at.run("token", "issue").out)


@pytest.mark.parametrize(
    ("columns", "locale", "why"), [(40, "C.UTF-8", "columns wide"), (100, "ja_JP.eucJP", "has to be UTF-8")]
)
def test_a_terminal_that_cannot_show_the_qr_code_is_told_why(
    at: CommandLine, columns: int, locale: str, why: str
) -> None:
    environment = {"LC_ALL": locale, "PYTHONIOENCODING": "utf-8" if "UTF" in locale else "euc-jp"}
    printed = on_terminal(at, "token", "issue", columns=columns, environment=environment)
    assert why in printed and "otpauth://" in printed and not modules_of(printed)


# The audit trail


def test_an_automatic_lock_is_not_told_as_an_act_of_the_counter(at: CommandLine) -> None:
    one = at.customer()
    for _ in range(3):
        at.run("suspend", one.contract_id, "--with-code", user_password=f"{one.code(100)}\n", code=1)
    (row,) = [row for row in at.sekisho.audit(one.contract_id) if row.event == "customer.locked"]
    assert (row.actor, row.source) == ("sekisho", "")
    told = at.run("audit", "--event", "customer.locked").out
    assert "by sekisho:" in told and "wrong codes in a row" in told and "desk" not in told


def test_the_token_that_a_change_retires_was_retired_by_who_changed_it(at: CommandLine) -> None:
    one, other = at.customer(), at.spare_token()
    at.run("change", one.contract_id, other.token_id, user_password=f"{one.code()}\n{other.code()}\n")
    retired, changed = at.sekisho.audit(one.contract_id)[-2:]
    assert (retired.event, changed.event) == ("token.retired", "otp.device-changed")
    assert retired.actor == changed.actor


def test_a_refused_act_says_which_act_it_was(at: CommandLine) -> None:
    one = at.customer()
    for words in (("customer", "unlock"), ("resume",), ("permit-reissue",)):
        at.run(*words, one.contract_id, code=1)
    at.run("token", "retire", one.token_id, code=1)
    reasons = [row.reason.partition(": ")[0] for row in at.sekisho.audit() if row.event == "act.refused"]
    assert reasons == ["unlock", "resume", "permit a reissue", "retire a token"]


def test_a_refused_act_of_an_unknown_name_says_which_act_and_not_the_name(at: CommandLine) -> None:
    with pytest.raises(Refused):
        at.sekisho.desk.enrolment.suspend("himitsu", None, STAFF)
    row = at.sekisho.audit()[-1]
    assert row.reason.startswith("suspend without a code: ") and "himitsu" not in repr(row)


# Settings that are not there


def test_a_settings_file_that_is_not_there_is_one_line(at: CommandLine) -> None:
    for words in (("config", "check"), ("customer", "list"), ("serve",), ("doctor",)):
        told = at.run("--config", "/nowhere/sekisho.toml", *words, code=1 if words == ("doctor",) else 3)
        said = told.err + told.out
        assert said.count("/nowhere/sekisho.toml: cannot be read") == 1
        assert "SEKISHO_" not in said and "/etc/sekisho" not in said


@pytest.mark.parametrize("check", [["--check"], []])
def test_a_fault_of_the_agents_settings_says_nothing_of_the_servers(tmp_path: Path, check: list[str]) -> None:
    settings = tmp_path / "pam-agent.toml"
    settings.write_text("x = 1\n")
    command = [sys.executable, "-m", "sekisho", "pam-agent", "--settings", str(settings), *check]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEKISHO_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 3 and f"{settings}: agent: is missing" in done.stderr
    assert "sekisho.toml" not in done.stderr and "--config" not in done.stderr
