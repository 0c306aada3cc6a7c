"""`sekisho audit export --until` and `sekisho audit drop`, as an operator runs them: what is refused and why, a
drop that is interrupted, the server behind it, and the file in the hands of an auditor."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otp_core.audit import Event
from otp_core.outwards.position import position_of
from otp_core.seals.keys import create_seal_key
from otp_core.store import audit_drops
from otp_core.store.engine import Task
from tests.journeys.command_line import CommandLine
from tests.journeys.old_logins import sealed_logins
from tests.sekisho import Sekisho, client_table


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    section = '[audit]\nseal_key_file = "audit.key"\nseal_copy = "seals"\n'
    sekisho = Sekisho(tmp_path, clients=client_table("gateway", "127.0.0.0/8", "code"), more=section)
    create_seal_key(tmp_path / "audit.key")
    try:
        yield CommandLine(sekisho)
    finally:
        sekisho.close()


def day(days_ago: int) -> str:
    return str((datetime.now(UTC) - timedelta(days=days_ago)).date())


def ago(days: int) -> float:
    return time.time() - days * 86_400


def rows(at: CommandLine) -> int:
    return len([one for one in at.sekisho.audit() if one.event == Event.LOGIN_ACCEPTED])


def test_three_months_are_exported_dropped_and_verified(
    at: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is nothing to export" in at.run("audit", "export", "--until", day(60), "old.gz").out
    for days_ago in (100, 70, 35, 2):
        sealed_logins(at.sekisho, ago(days_ago), 700)
    first, second = str(tmp_path / "first.jsonl.gz"), str(tmp_path / "second.jsonl.gz")
    public = tmp_path / "audit.pub"
    public.write_text(at.run("audit", "public-key").out)
    drop = ("audit", "drop", "--until", day(85), "--export", first)

    said = at.run("audit", "export", "--until", day(85), first, "--reason", "March")
    assert "seals 1 to 1, 700 rows up to " in said.out and len(said.out.split("SHA-256: ")[1].split()[0]) == 64
    assert "give --replace" in at.run("audit", "export", "--until", day(85), first, code=4).err
    at.run("audit", "export", "--until", day(85), first, "--replace")
    (told, _) = at.sekisho.audit(event="audit.exported")
    assert told.reason.startswith("March; first.jsonl.gz: 700 rows up to ")
    assert "what was sealed" in at.run("audit", "verify", "--export", first, "--public-key", str(public)).out

    refused_with: list[tuple[tuple[str, ...], str]] = [
        (drop, "nobody can be asked here: give --yes"),
        (("audit", "drop", "--until", day(20), "--export", first, "--yes"), "the last 31 days stay in the store"),
        (("audit", "drop", "--until", day(60), "--export", first, "--yes"), "the file ends with seal 1, and the seals"),
        (("audit", "drop", "--until", day(85), "--export", str(public), "--yes"), "is no file that `sekisho audit exp"),
    ]
    for words, expected in refused_with:
        assert expected in at.run(*words, code=1).err
    ill_formed: list[tuple[tuple[str, ...], str]] = [
        (("audit", "drop", "--until", day(-2), "--export", first, "--yes"), "has not begun"),
        (("audit", "drop", "--until", "April", "--export", first, "--yes"), "write a day, as 2026-04-01"),
        (("audit", "export", "--until", day(85)), "--until needs a FILE"),
    ]
    for words, expected in ill_formed:
        assert expected in " ".join(at.run(*words, code=2).err.replace("│", "").split())
    assert rows(at) == 2800

    assert "700 rows up to " in at.run(*drop, "--yes", "--reason", "kept for 85 days").out
    assert rows(at) == 2100
    assert at.run(*drop, "--yes").out.startswith("nothing is left to drop of before that day: rows up to ")
    said = at.run("audit", "verify")
    assert "were exported and dropped by " in said.out and said.out.endswith("the audit trail is what was sealed\n")
    (told,) = at.sekisho.audit(event="audit.dropped")
    assert told.reason.startswith("kept for 85 days; 700 rows up to ") and "export's SHA-256" in told.reason

    at.run("audit", "export", "--until", day(60), second)
    assert "were exported and dropped by" in at.run("audit", "verify", "--export", second).out

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    words = ("audit", "drop", "--until", day(60), "--export", second, "--yes")
    with monkeypatch.context() as patch:
        patch.setattr(audit_drops, "_at_leisure", killed)
        at.run(*words, code=130)
    assert "the drop of the seals up to " in at.run("audit", "verify").out
    assert "has not ended" in at.run("audit", "export", "--until", day(60), second, "--replace", code=1).err
    said = at.run(*words)
    assert "700 rows up to " in said.out and "nothing is left to drop of before that day" in said.out
    assert rows(at) == 1400 and len(at.sekisho.audit(event="audit.dropped")) == 2
    assert "not ended" not in at.run("audit", "verify").out

    taro = at.customer()
    at.sekisho.start()
    assert at.sekisho.login(taro.contract_id, taro.code()) == "Access-Accept"
    at.sekisho.stop()
    assert at.run("audit", "verify").out.endswith("the audit trail is what was sealed\n")


OUTLETS = """
[syslog]
address = "127.0.0.1:9"
transport = "tcp"
[[webhooks]]
name = "siem"
url = "http://127.0.0.1:9/"
secret_file = "hook.key"
"""


def test_what_syslog_or_a_webhook_has_not_sent_yet_is_not_dropped(at: CommandLine, tmp_path: Path) -> None:
    """One that has sent nothing at all is sent only what comes from its first start on."""
    (tmp_path / "hook.key").write_text("whsec_" + b64encode(bytes(32)).decode())
    (tmp_path / "hook.key").chmod(0o600)
    with at.sekisho.config.open("a") as file:
        file.write(OUTLETS)
    sealed_logins(at.sekisho, ago(100), 10)
    last = at.sekisho.audit(event="login.accepted")[-1].id
    file_ = str(tmp_path / "old.gz")
    at.run("audit", "export", "--until", day(85), file_)
    words = ("audit", "drop", "--until", day(85), "--export", file_, "--yes")
    syslog, webhook = (position_of(at.sekisho.store, name) for name in ("syslog", "webhook-siem"))
    for behind, told, remedy in ((syslog, "syslog", "[syslog]"), (webhook, "webhook:siem", "its [[webhooks]]")):
        behind.write(last - 1)
        said = at.run(*words, code=1).err
        assert f"nothing was dropped: {told} has sent rows up to 20" in said
        assert f"take {remedy} out of the settings" in said and rows(at) == 10
        behind.write(last)
    assert "10 rows up to " in at.run(*words).out and rows(at) == 0


def test_the_monthly_unit_does_it_once_and_has_nothing_to_do_then(at: CommandLine, tmp_path: Path) -> None:
    """The very line of the unit, with a test's paths."""
    text = (Path(__file__).parents[2] / "config" / "systemd" / "sekisho-audit.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    line = line.replace("%%", "%").replace("/var/lib/sekisho-audit", str(tmp_path))
    line = line.replace("/opt/sekisho/bin/sekisho", " ".join(at.command()[:3]))
    line = line.replace("/etc/sekisho/sekisho.toml", str(at.sekisho.config))
    said = []
    for number in range(3):
        if number == 1:
            sealed_logins(at.sekisho, ago(8 * 366), 3)
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "there is nothing to export" in said[0]
    assert "the audit trail is what was sealed" in said[1] and "3 rows up to " in said[1]
    assert "nothing is left to drop" in said[2] and rows(at) == 0


def test_two_drops_do_not_come_in_each_others_way(at: CommandLine, tmp_path: Path) -> None:
    sealed_logins(at.sekisho, ago(60), 3)
    file = str(tmp_path / "all.jsonl.gz")
    at.run("audit", "export", "--until", day(40), file)
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it: whoever opens it would wait
    for words in (("audit", "drop", "--until", day(40), "--yes"), ("audit", "verify")):
        for path in (tmp_path / "pipe", Path("/dev/zero")):
            assert "it is no regular file" in at.run(*words, "--export", str(path), code=4).err
    other = at.sekisho.store.task_lock(Task.DROP)
    assert other.take()
    command = at.command("audit", "drop", "--until", day(40), "--export", file, "--yes")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "another `sekisho audit drop` is under way" in done.stderr
    other.close()
