"""docs/operations.md keeps its word: every command of it is run, in its order, and the units do what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.model import OtpUse, TokenSpec
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF, Customer, Sekisho, client_table

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "config" / "systemd"
PAGE = (ROOT / "docs" / "operations.md").read_text()
BACKUPS = "/var/backups/sekisho"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    folder = tmp_path / "one"
    folder.mkdir()
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "code"))
    (tmp_path / "backups").mkdir()
    try:
        yield CommandLine(sekisho)
    finally:
        sekisho.close()


def commands_under(*headings: str) -> list[str]:
    """The indented lines of these sections of the page."""
    found = []
    for heading in headings:
        section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
        assert section is not None, heading
        found += re.findall(r"^    (\S.*)$", section[1], re.MULTILINE)
    return found


@pytest.mark.sqlite_files
def test_every_command_about_backups_is_run_in_its_order(at: CommandLine, tmp_path: Path) -> None:
    at.sekisho.crowd(2)
    for contract_id in ("1234567", "1234568"):
        at.run("customer", "add", contract_id)
        token = at.spare_token()
        code = token.previous_code()
        at.run("enrol", contract_id, token.token_id, "--stdin", user_password=f"{code}\n")
    at.sekisho.start()
    run = []
    for line in commands_under("Backup", "Restore", "A store that was put back without the command"):
        words = shlex.split(line.replace(BACKUPS, str(tmp_path / "backups")))
        if words[0] == "systemctl":
            systemctl(at.sekisho, words[1:])
        else:
            assert words[0] == "sekisho", line
            at.run(*words[1:])
        run.append(" ".join(words[:2]))
    assert {"sekisho backup", "sekisho restore", "sekisho doctor", "systemctl stop"} <= set(run)
    assert at.sekisho.process is not None, "it serves at the end"


def test_every_command_about_several_tokens_is_run_in_its_order(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, more="[login]\ntokens_per_customer = 2\n")
    at, seeds = CommandLine(sekisho), {}
    for number, token_id in enumerate(("VSMT12345678", "VSMT87654321", "VSMT22222222")):
        seeds[token_id] = Customer("1234567", "", token_id, bytes([number]) * 20)
        sekisho.desk.tokens.import_rows([(token_id, seeds[token_id].seed, TokenSpec())], STAFF)
    old, new, third = seeds.values()
    at.run("customer", "add", "1234567")
    at.run("enrol", "1234567", old.token_id, user_password=old.code(-1))
    asked = {
        "device add": f"{old.code()}\n{new.code(-1)}\n",
        "change": f"{new.code()}\n{third.code()}\n",
        "resync": f"{new.code(5)}\n{new.code(6)}\n",
    }
    for line in commands_under("Customers with several tokens"):
        words = shlex.split(line)
        given = next((text for begin, text in asked.items() if line.startswith(f"sekisho {begin}")), "")
        said = at.run(*words[1:], user_password=given).out
        if "show" in words:
            assert [held["name"] for held in json.loads(said)["tokens"]] == ["old phone", "new phone"]
    assert sekisho.desk.customers.login_record("1234567").otp_use == OtpUse.LOST
    sekisho.close()


def test_every_command_about_a_refused_login_is_run_and_changes_nothing(at: CommandLine) -> None:
    one = Customer("1234567", "", "VSMT12345678", bytes(20))
    at.sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
    at.run("customer", "add", "1234567")
    at.run("enrol", "1234567", one.token_id, user_password=one.previous_code())
    rows = at.sekisho.audit()
    said: list[str] = []
    for line in commands_under("Why a login is refused"):
        given = {1: f"{one.code(-4)}\n", 2: f"any\n{one.code()}\n"}.get(len(said), "")
        said.append(at.run(*shlex.split(line)[1:], user_password=given).out)
    asked, late, right = said
    assert "depends on the code" in asked
    assert "correct code, 3 steps late" in late
    assert json.loads(right)["answer"] == "Access-Accept"
    assert at.sekisho.audit() == rows


def test_every_command_of_an_upgrade_without_a_stop_is_run_in_its_order(at: CommandLine) -> None:
    """With two versions: test_upgrade.py; the installation: test_install.py."""
    at.sekisho.start()
    for line in commands_under("Upgrade without a stop"):
        words = shlex.split(line)
        if words[0] == "systemctl":
            systemctl(at.sekisho, words[1:])
        elif words[0] == "sekisho":
            said = at.run(*words[1:])
            assert "nodes" not in words or "serving" in said.out
        else:
            assert line == "make install PREFIX=/opt/sekisho"
    assert "checked the store" in said.out


def systemctl(sekisho: Sekisho, words: list[str]) -> None:
    match words:
        case ["stop", "sekisho"]:
            assert sekisho.stop() == 0
        case ["start", "sekisho"]:
            sekisho.start()
        case ["restart", "sekisho"]:
            assert sekisho.stop() == 0
            sekisho.start()
        case ["enable", "--now", unit]:
            assert (UNITS / unit).is_file()
        case _:
            raise AssertionError(words)


def test_every_unit_that_the_page_names_exists() -> None:
    for name in re.findall(r"config/systemd/([a-z.-]+)", PAGE):
        assert (UNITS / name).is_file(), name


def value(unit: str, key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.sqlite_files
def test_the_nightly_backup_is_the_day_of_the_weeks_and_replaced(at: CommandLine, tmp_path: Path) -> None:
    """The very line of the unit, with a test's paths; twice, as in the week after."""
    program = " ".join(map(shlex.quote, at.command()[:3]))
    line = value("sekisho-backup.service", "ExecStart").replace("%%", "%")
    line = line.replace("/opt/sekisho/bin/sekisho", program).replace(
        "/etc/sekisho/sekisho.toml", str(at.sekisho.config)
    )
    line = line.replace(BACKUPS, str(tmp_path / "backups"))
    for customers in (1, 2):
        at.sekisho.crowd(1)
        done = subprocess.run(
            shlex.split(line), env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert f": {customers} customers" in done.stdout
        (file,) = (tmp_path / "backups").iterdir()
        assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\.db", file.name)
    assert at.sekisho.audit(event="store.backed-up")[-1].reason == f"nightly; {file}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", ["sekisho-backup", "sekisho-audit"])
def test_systemd_takes_the_units_of_a_timer(tmp_path: Path, unit: str) -> None:
    for name in (f"{unit}.service", f"{unit}.timer"):
        text = (UNITS / name).read_text().replace("User=sekisho", "User=root").replace("Group=sekisho", "Group=root")
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{unit}.timer")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    about_ours = [line for line in done.stderr.splitlines() if unit in line]
    assert about_ours == [], done.stderr
