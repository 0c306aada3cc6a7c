"""The command line: every act of the counter, what it shows, how it ends, and that no secret comes in or out by it."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
import typer.main
from sqlalchemy import column, table, update

from sekisho.cli import app
from tests.journeys.command_line import CommandLine
from tests.sekisho import SECRET, STAFF, Sekisho, client_table

MORE = "[login]\ncode_window = 2\n"
"""A new customer's drift is one step back (sekisho.py enrols with the code before): so the next codes fit as well."""


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path, more=MORE)
    yield CommandLine(sekisho)
    sekisho.close()


def commands() -> dict[str, Any]:
    """Every command by its words."""

    def inside(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from inside(command, (*words, name))
            if not hasattr(command, "commands") or command.invoke_without_command:
                yield " ".join((*words, name)), command

    return dict(inside(typer.main.get_command(app), ()))


# How it is learnt


def test_there_is_a_command_for_every_need() -> None:
    assert set(commands()) >= {
        *("init", "serve", "demo", "audit", "doctor", "config check", "config show", "config schema", "explain login"),
        *("enrol", "suspend", "resume", "change", "report-lost", "permit-reissue", "resync"),
        *(f"customer {act}" for act in ("add", "import", "show", "list", "lock", "unlock")),
        *(f"token {act}" for act in ("import", "issue", "show", "list", "retire")),
        *(f"device {act}" for act in ("add", "remove", "name")),
    }


@pytest.mark.parametrize("words", commands())
def test_every_help_teaches_with_an_example(words: str, at: CommandLine) -> None:
    example = rf"^ +(.+\| )?sekisho (--config \S+ )?{words}\b"
    assert re.search(example, at.run(*words.split(), "--help").out, re.MULTILINE)


def test_the_help_tells_the_exit_codes(at: CommandLine) -> None:
    told = at.run("--help").out
    assert all(f"  {code} " in told for code in (0, 1, 2, 3, 4, 130))


@pytest.mark.parametrize("words", [("customer", "edit", "1", "--name"), ("customer", "lock", "1", "--reason")])
def test_an_argument_that_is_no_text_is_refused_before_anything_is_opened(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "sekisho", *words, "\udcffsecret"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"sekisho: argument {len(words) + 1} is no text in UTF-8: is the terminal set to another encoding?\n"
    )


def test_the_help_waits_for_no_database_and_no_cryptography() -> None:
    slow = ("sqlalchemy", "pydantic", "argon2", "cryptography", "structlog", "rich")
    code = f"import sys, sekisho.cli; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told(at: CommandLine) -> None:
    assert at.run("--version").out.startswith("sekisho ")


# The acts


def test_a_customer_is_added_shown_and_listed(at: CommandLine) -> None:
    at.run("customer", "add", "１２３４５６７", "--name", "山田太郎", "--email", "t@example.jp", "--language", "ja")
    shown = json.loads(at.run("customer", "show", "1234567", "--json").out)
    assert (shown["contract_id"], shown["name"], shown["otp_use"]) == ("1234567", "山田太郎", "none")
    assert not shown["password_held"]
    assert "山田太郎" in at.run("customer", "show", "1234567").out
    assert at.run("customer", "list", "--search", "山田").out.splitlines()[1].startswith("1234567\t")


def test_what_is_known_of_a_customer_is_edited_field_by_field(at: CommandLine) -> None:
    at.run("customer", "add", "e1", "--name", "山田 太郎", "--email", "old@example.jp", "--attributes", "Class=gold")
    changed = json.loads(at.run("customer", "edit", "e1", "--reading", "ヤマダ タロウ", "--email", "", "--json").out)
    assert changed["done"] == "customer.edited"
    shown = json.loads(at.run("customer", "show", "e1", "--json").out)
    assert (shown["name"], shown["reading"], shown["email"]) == ("山田 太郎", "ヤマダ タロウ", None)
    assert shown["attributes"] == {"Class": "gold"}
    assert "e1\t" in at.run("customer", "list", "--search", "やまだ").out
    assert json.loads(at.run("audit", "--customer", "e1", "--json").out.splitlines()[-1])["reason"] == "reading, email"
    for words in ((), ("--email", "nobody"), ("--language", "fr"), ("--attributes", "No-Such=1"), ("--name", "a\tb")):
        at.run("customer", "edit", "e1", *words, code=2)
    assert "nothing would be changed" in at.run("customer", "edit", "e1", "--name", "山田 太郎", code=1).err
    assert json.loads(at.run("customer", "show", "e1", "--json").out) == shown


def test_a_customers_password_comes_from_standard_input(at: CommandLine) -> None:
    at.run("customer", "add", "c1", "--password", user_password="korrekt pferd\n")
    assert json.loads(at.run("customer", "show", "c1", "--json").out)["password_held"]


def test_a_customer_enrols_suspends_and_resumes(at: CommandLine) -> None:
    one = at.customer(enrolled=False)
    at.run("enrol", one.contract_id, one.token_id.lower(), user_password=one.previous_code())
    assert json.loads(at.run("customer", "show", one.contract_id, "--json").out)["otp_use"] == "active"
    at.run("suspend", one.contract_id, "--with-code", user_password=one.code() + "\n")
    assert f"{one.contract_id}\tsuspended" in at.run("customer", "list", "--use", "suspended").out
    at.run("resume", one.contract_id)
    at.run("suspend", one.contract_id, "--reason", "asked in writing")
    assert "asked in writing" in at.run("audit", "--event", "otp.suspended").out


def test_a_customer_changes_the_device_by_the_old_tokens_code(at: CommandLine) -> None:
    one, other = at.customer(), at.spare_token()
    at.run("change", one.contract_id, other.token_id, user_password=f"{one.code()}\n{other.code()}\n")
    assert json.loads(at.run("token", "show", one.token_id, "--json").out)["state"] == "retired"
    assert json.loads(at.run("token", "show", other.token_id, "--json").out)["contract_id"] == one.contract_id


def test_a_lost_token_is_replaced_by_a_permit(at: CommandLine) -> None:
    one, other = at.customer(), at.spare_token()
    at.run("report-lost", one.contract_id, "--reason", "left in a taxi")
    permit = json.loads(at.run("permit-reissue", one.contract_id, "--json").out)
    assert permit["expires"] > "2020"
    at.run(
        "change",
        one.contract_id,
        other.token_id,
        "--permit",
        user_password=f"{permit['permit'].lower()}\n{other.code()}",
    )
    (held,) = json.loads(at.run("customer", "show", one.contract_id, "--json").out)["tokens"]
    assert held["token_id"] == other.token_id


def test_a_token_that_ran_away_is_resynchronised(at: CommandLine) -> None:
    one = at.customer()
    told = at.run("resync", one.contract_id, "--json", user_password=f"{one.code(50)}\n{one.code(51)}\n")
    assert json.loads(told.out)["done"] == "token.resynchronised"
    assert json.loads(at.run("token", "show", one.token_id, "--json").out)["drift"] in (50, 51)


def test_a_customer_is_locked_and_unlocked(at: CommandLine) -> None:
    one = at.customer()
    at.run("customer", "lock", one.contract_id)
    assert at.run("customer", "list", "--locked").out.splitlines()[1].startswith(one.contract_id)
    assert "locked already" in at.run("customer", "lock", one.contract_id, code=1).err
    at.run("customer", "unlock", one.contract_id)
    assert at.run("customer", "list", "--locked").out.count("\n") == 1, "the headings"


def test_a_token_is_issued_once_and_retired(at: CommandLine) -> None:
    issued = json.loads(at.run("token", "issue", "--digits", "8", "--issuer", "Bank", "--json").out)
    assert "issuer=Bank" in issued["uri"] and issued["token_id"] in issued["uri"]
    at.run("customer", "add", "c1")
    at.run("enrol", "c1", issued["token_id"], user_password=pyotp.TOTP(issued["secret"], digits=8).now())
    spare = json.loads(at.run("token", "issue", "--kind", "hotp", "--algorithm", "sha256", "--json").out)["token_id"]
    at.run("token", "retire", spare)
    assert spare in at.run("token", "list", "--state", "retired").out
    assert "bound to c1" in at.run("token", "retire", issued["token_id"], code=1).err


def test_every_act_says_who_did_it_and_why(at: CommandLine) -> None:
    at.run("customer", "add", "c1", "--reason", "ticket 4711")
    (row,) = at.sekisho.audit("c1")
    assert (row.actor, row.source, row.reason) == (getpass.getuser(), "cli", "ticket 4711")


def test_long_lists_come_in_pages_and_say_so(at: CommandLine) -> None:
    at.sekisho.crowd(5)
    first = at.run("token", "list", "--limit", "2", "--json")
    last = [json.loads(line)["token_id"] for line in first.out.splitlines()][-1]
    assert f"--after {last}" in first.err
    assert len(at.run("token", "list", "--after", last, "--limit", "0").out.splitlines()) == 1 + 3


def test_a_filter_of_which_nothing_is_left_lists_nothing(at: CommandLine) -> None:
    at.sekisho.crowd(2)
    assert len(at.run("token", "list", "--search", "--").out.splitlines()) <= 1
    assert at.run("audit", "--event", "", code=2).err


# How it refuses


@pytest.mark.parametrize(
    "words",
    [
        "customer show nobody",
        "customer lock nobody",
        "suspend nobody",
        "resume nobody",
        "report-lost nobody",
        "permit-reissue nobody",
    ],
)
def test_an_unknown_customer_is_refused_with_exit_code_1(words: str, at: CommandLine) -> None:
    said = at.run(*words.split(), code=1)
    assert (said.out, said.err) == ("", "sekisho: there is no such customer: nobody\n")


def test_an_unknown_token_is_refused_with_exit_code_1(at: CommandLine) -> None:
    assert "there is no such token: XY1" in at.run("token", "show", "xy-1", code=1).err
    assert "there is no such token: XY1" in at.run("token", "retire", "xy 1", code=1).err


def test_a_wrong_code_is_refused_and_counted(at: CommandLine) -> None:
    one = at.customer()
    wrong = f"{(int(one.code()) + 5) % 10**8:08d}"
    assert "wrong code" in at.run("suspend", one.contract_id, "--with-code", user_password=wrong, code=1).err
    assert json.loads(at.run("customer", "show", one.contract_id, "--json").out)["failures"] == 1


def test_a_code_that_is_not_given_is_asked_for_by_name(at: CommandLine) -> None:
    one, other = at.customer(), at.spare_token()
    said = at.run("change", one.contract_id, other.token_id, user_password=f"{one.code()}\n", code=2)
    assert "line 2 has to be the code that the new token shows" in said.err


@pytest.mark.parametrize(
    "words",
    [
        "customer add",
        "audit --since yesterday",
        "audit --since 2999-01-01",
        "audit --event nothing",
        "nonsense",
        "list",
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2(words: str, at: CommandLine) -> None:
    assert "Error" in at.run(*words.split(), code=2).err


def test_settings_that_do_not_hold_end_with_exit_code_3(at: CommandLine) -> None:
    at.sekisho.config.write_text(at.sekisho.config.read_text() + "lock_afer = 3\n")
    for words in ("serve", "init", "customer list", "config check", "config show"):
        said = at.run(*words.split(), code=3)
        assert f"{at.sekisho.config}:" in said.err and "lock_afer" in said.err


def test_a_config_that_is_not_there_says_so(at: CommandLine) -> None:
    assert "cannot be read" in at.run("--config", str(at.folder / "none.toml"), "doctor", code=1).out
    assert "cannot be read" in at.run("--config", str(at.folder / "none.toml"), "config", "check", code=3).err


def test_a_store_that_cannot_be_opened_ends_with_exit_code_4(at: CommandLine) -> None:
    (at.folder / "master.key").rename(at.folder / "lost.key")
    assert "master key" in at.run("customer", "list", code=4).err
    assert "restore the key" in at.run("init", code=4).err
    (at.folder / "lost.key").rename(at.folder / "master.key")
    at.run("customer", "list")


@pytest.mark.sqlite_files
def test_a_store_whose_file_is_gone_ends_with_exit_code_4(at: CommandLine) -> None:
    at.sekisho.database.unlink()
    assert "sekisho init" in at.run("customer", "list", code=4).err


def test_init_is_safe_to_repeat(at: CommandLine) -> None:
    one = at.customer()
    key = (at.folder / "master.key").read_bytes()
    assert "checked the store" in at.run("init").out
    assert (at.folder / "master.key").read_bytes() == key
    at.run("customer", "show", one.contract_id)


# What it shows


def test_the_settings_are_checked_shown_and_described(at: CommandLine) -> None:
    at.sekisho.clients = client_table("gateway", "10.0.0.0/8", "challenge")
    at.sekisho.write_config()
    said = at.run("config", "check")
    assert "settings hold" in said.out and "10.0.0.0/8 is very wide" in said.err
    shown = at.run("config", "show").out
    assert tomllib.loads(shown)["radius"]["clients"][0]["name"] == "gateway"
    assert SECRET not in shown
    assert json.loads(at.run("config", "schema").out)["properties"]["store"]
    assert "| `login.lock_after` |" in at.run("config", "schema", "--markdown").out


def test_what_only_a_door_finds_wrong_is_found_by_config_check(at: CommandLine) -> None:
    at.sekisho.clients = (
        client_table("gateway", "10.1.0.0/16", "challenge") + "reply_attributes = { No-Such-Thing = 1 }\n"
    )
    at.sekisho.write_config()
    assert "No-Such-Thing" in at.run("config", "check", code=3).err
    assert "No-Such-Thing" in at.run("doctor", code=1).out


def test_a_version_that_is_too_old_or_too_new_for_the_store_is_told_what_to_do(at: CommandLine) -> None:
    assert "can be used: its schema is" in at.run("config", "check").out
    for revision, why, advice in (("9999", "too old", "install the version"), ("0000", "too new", "`sekisho init`")):
        with at.sekisho.store.database.write() as connection:
            for name in ("alembic_version", "alembic_reached"):
                connection.execute(update(table(name, column("version_num"))).values(version_num=revision))
        for words, code in ((("config", "check"), 4), (("customer", "list"), 4), (("doctor",), 1)):
            said = at.run(*words, code=code)
            assert f"{why} for the store" in said.out + said.err and advice in said.out + said.err


@pytest.mark.sqlite_files
def test_a_store_in_a_file_needs_no_command_behind_a_recovery(at: CommandLine) -> None:
    assert "`sekisho restore` does this by itself" in at.run("store", "recovered", code=4).err


def test_a_store_that_is_not_there_yet_is_no_fault_of_the_settings(at: CommandLine) -> None:
    text = at.sekisho.config.read_text()
    at.sekisho.config.write_text(re.sub(r'url = ".*"', f'url = "sqlite:///{at.folder}/none.db"', text))
    said = at.run("config", "check")
    assert "settings hold" in said.out and "`sekisho init` makes it" in said.err
    assert not (at.folder / "none.db").exists()


def test_the_audit_trail_is_filtered_and_told_in_three_forms(at: CommandLine) -> None:
    one, other = at.customer(), at.customer()
    lines = [json.loads(line) for line in at.run("audit", "--customer", one.contract_id, "--json").out.splitlines()]
    assert [line["event"] for line in lines] == ["customer.added", "otp.enrolled"]
    assert lines[0]["time"] < lines[1]["time"] and lines[0]["time"][-6] in "+-"
    assert other.contract_id in at.run("audit", "--token", other.token_id.lower(), "--event", "otp").out
    assert len(at.run("audit", "--limit", "1").out.splitlines()) == 1
    assert at.run("audit", "--until", lines[0]["time"], "--customer", one.contract_id).out == ""
    assert len(at.run("audit", "--since", "1h", "--actor", "staff", "--csv").out.splitlines()) == 7
    assert at.run("audit", "--since", "2199-01-01").out == ""


def test_a_name_from_the_network_steers_no_terminal_and_no_spreadsheet(at: CommandLine) -> None:
    for name in ("=cmd|' /C calc'!A0", "a\x1b[2Jb"):
        at.sekisho.desk.customers.add(name, STAFF)
    assert "'=cmd|" in at.run("audit", "--csv").out
    for words in ("audit", "customer list", "audit --json"):
        assert "\x1b" not in at.run(*words.split()).out


def test_the_audit_trail_is_followed(at: CommandLine) -> None:
    at.run("customer", "add", "before")
    with at.spawn("audit", "--follow", "--json", "--event", "customer.added") as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["customer"] == "before"
        at.run("customer", "add", "after")
        assert json.loads(tail.stdout.readline())["customer"] == "after"
        tail.terminate()


def test_the_doctor_finds_a_sound_sekisho_sound(at: CommandLine) -> None:
    at.customer()
    told = [json.loads(line) for line in at.run("doctor", "--deep", "--json").out.splitlines()]
    of_engine = {"store", "disk"} if at.sekisho.store.database.file is not None else {"database", "database disk"}
    assert {one["check"] for one in told} >= {"settings", "key", "clock", "contents", "integrity"} | of_engine
    assert not [one for one in told if one["state"] == "fail" and one["check"] != "database disk"]


@pytest.mark.sqlite_files
def test_the_doctor_says_what_is_wrong_and_what_to_do(at: CommandLine) -> None:
    key = at.folder / "master.key"
    key.chmod(0o644)
    assert "fail  key:" in (told := at.run("doctor", code=1).out) and f"chmod 600 {key}" in told
    key.chmod(0o600)
    at.sekisho.database.chmod(0o644)
    assert f"chmod 600 {at.sekisho.database}" in at.run("doctor").out


@pytest.mark.sqlite_files
def test_the_doctor_finds_damage_when_it_looks_deep(at: CommandLine) -> None:
    at.sekisho.crowd(400)
    with at.sekisho.database.open("r+b") as file:
        file.seek(file.seek(0, os.SEEK_END) // 2)
        file.write(os.urandom(4096 * 4))
    assert "restore the newest backup" in at.run("doctor", "--deep", code=1).out


# Secrets


def test_no_secret_can_be_written_on_the_command_line(at: CommandLine) -> None:
    names = ("password", "code", "permit", "secret", "hexkey", "seed", "pin", "stdin")
    may = ("demo", "explain login")  # a code that is told on the telephone, to be explained; `--code -` asks for it
    for words, command in commands().items():
        for parameter in command.params:
            if parameter.name in names and words not in may:
                assert parameter.is_flag, f"{words} takes {parameter.name}"
    at.run("customer", "add", "c1", "--password", "geheim", code=2)
    at.run("enrol", "c1", "VSMT12345678", "12345678", code=2)


def test_no_secret_is_ever_told_again(at: CommandLine) -> None:
    one, other = at.customer(), at.spare_token()
    secrets = [one.password, one.seed.hex(), other.seed.hex(), one.code(), one.code(1), other.code(), "korrekt pferd"]
    at.run("customer", "add", "c1", "--password", user_password="korrekt pferd\n")
    at.run("suspend", one.contract_id, "--with-code", user_password=f"{one.code(1)}1", code=1)
    at.run("change", one.contract_id, other.token_id, user_password=f"{one.code()}\n{other.code()}\n")
    at.run("report-lost", one.contract_id)
    permit = json.loads(at.run("permit-reissue", one.contract_id, "--json").out)["permit"]
    issued = json.loads(at.run("token", "issue", "--json").out)["secret"]
    at.said.clear()
    for words in ("audit", "audit --json", "customer list --json", "token list --json", "config show", "doctor"):
        at.run(*words.split())
    at.run("change", one.contract_id, other.token_id, "--permit", user_password=f"{permit}\n{other.code()}\n", code=1)
    told = "".join(said.out + said.err for said in at.said) + at.sekisho.log_text()
    assert told
    for secret in (*secrets, permit, issued):
        assert secret not in told
