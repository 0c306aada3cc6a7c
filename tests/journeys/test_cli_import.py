"""Files of tokens and customers through the command line: all of a file or none of it, and never a secret told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otp_core.first_factor.hashes import check
from otp_core.store.queries import counts
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF, Sekisho

SEED = "3132333435363738393031323334353637383930"
HASH = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path)
    yield CommandLine(sekisho)
    sekisho.close()


def counted(at: CommandLine) -> tuple[int, int, int]:
    """How many customers, tokens and audit rows there are."""
    with at.sekisho.store.read() as connection:
        found = counts(connection)
    return found["customer"], found["token"], found["audit"]


def hash_of(at: CommandLine, contract_id: str) -> str:
    with at.sekisho.store.work() as work:
        record = work.login_record(contract_id)
        assert record is not None
        return work.profile(record.customer_key).password_hash or ""


def test_tokens_and_customers_are_imported_and_can_log_in(at: CommandLine) -> None:
    tokens = at.file("t.csv", f"vsmt-0000-0001,{SEED},totp,6,30", f"VSMT00000002,{SEED},hotp,8,,sha256")
    assert "imported 2 tokens" in at.run("token", "import", tokens).out
    customers = at.file(
        "c.csv",
        "contract_id,password,password_hash,token_id,name,language,attributes",
        "c1,korrekt pferd,,vsmt 0000 0001,山田,ja,Filter-Id=gold",
        f'c2,,"{HASH}",,,,',
        "c3,,,,,,",
    )
    assert "imported 3 customers" in at.run("customer", "import", customers).out
    shown = json.loads(at.run("customer", "show", "c1", "--json").out)
    assert shown["otp_use"] == "active"
    assert [(held["token_id"], held["state"]) for held in shown["tokens"]] == [("VSMT00000001", "bound")]
    assert (shown["name"], shown["attributes"]) == ("山田", {"Filter-Id": "gold"})
    assert check(b"korrekt pferd", hash_of(at, "c1"))
    assert (hash_of(at, "c2"), hash_of(at, "c3")) == (HASH, "")


def test_attributes_that_no_acceptance_could_carry_are_refused_before_anything_is_written(at: CommandLine) -> None:
    rows = ("c1,Filter-Id=gold", "c2,Session-Timeout=soon", "c3,Filter-ID=gold", 'c4,"{""Filter-Id"": ""silver""}"')
    name = at.file("c.csv", "contract_id,attributes", *rows)
    said = at.run("customer", "import", name, code=1).err
    assert "line 3, column attributes: cannot be sent: Session-Timeout: write a number" in said
    assert "line 4, column attributes: cannot be sent: attribute 1: not in the dictionary; did you" in said
    assert "2 problems" in said and at.sekisho.audit() == []
    assert "did you mean Filter-Id?" in at.run("customer", "add", "c5", "--attributes", "FilterId=gold", code=2).err
    assert at.sekisho.audit() == []


def test_attributes_that_a_changed_dictionary_can_send_no_more_are_found_by_the_doctor(at: CommandLine) -> None:
    local = at.file("local", "ATTRIBUTE Local-Text 230 string")
    clients, at.sekisho.clients = at.sekisho.clients, f'dictionary = ["{local}"]\n{at.sekisho.clients}'
    at.sekisho.write_config()
    for contract_id in ("c1", "c2"):
        at.run("customer", "add", contract_id, "--attributes", "Local-Text=gold")
    assert "reply attributes: what customers have can be sent" in at.run("doctor").out
    at.sekisho.clients = clients
    at.sekisho.write_config()
    said = at.run("doctor", code=1).out
    assert "reply attributes: c1 and 1 more cannot log in over RADIUS: attribute 1: not in the dictionary" in said


def test_every_imported_row_leaves_an_audit_row_that_names_the_file(at: CommandLine) -> None:
    name = at.file("t.csv", f"A1,{SEED},totp,6,30")
    at.run("token", "import", name)
    at.run("customer", "import", at.file("c.csv", "contract_id,token_id", "c1,A1"), "--reason", "migration")
    assert [(row.event, row.reason) for row in at.sekisho.audit()] == [
        ("token.imported", f"file {name}"),
        ("otp.enrolled", "migration"),
    ]


def test_a_malformed_file_imports_nothing_and_names_line_column_and_form(at: CommandLine) -> None:
    name = at.file("t.csv", f"A1,{SEED},totp,6,30", f"A2,{SEED[:-2]}zz,totp,9,30", f"a-1,{SEED},totp,6,30")
    said = at.run("token", "import", name, code=1)
    assert said.err.splitlines() == [
        f"{name}: line 2, column hexkey: is not hexadecimal: write two digits (0-9, a-f) for each octet, 40 for the "
        "usual 160 bits",
        f"{name}: line 2, column digits: is not understood: write 6, 7 or 8",
        f"{name}: line 3, column token_id: is on line 1 already (case, width, spaces and hyphens do not count): write "
        "each once",
        "sekisho: 3 problems: nothing was imported",
    ]
    assert counted(at) == (0, 0, 0)


def test_one_wrong_customer_at_the_end_of_a_long_file_keeps_all_out(at: CommandLine) -> None:
    name = at.file("c.csv", "contract_id,email", *(f"c{one}," for one in range(3000)), "last,no address")
    assert "line 3002, column email" in at.run("customer", "import", name, code=1).err
    assert counted(at) == (0, 0, 0)


def test_a_flood_of_problems_is_cut_short_and_counted(at: CommandLine) -> None:
    said = at.run("token", "import", at.file("t.csv", *("A,x,totp,6,30" for _ in range(100))), code=1)
    assert len(said.err.splitlines()) == 52
    assert "… and 149 more" in said.err and "199 problems" in said.err


def test_problems_are_told_as_json_to_a_script(at: CommandLine) -> None:
    told = json.loads(at.run("token", "import", at.file("t.csv", "A1,,totp,6,30"), "--json", code=1).out)
    assert (told["imported"], told["problem_count"]) == (0, 1)
    assert (told["problems"][0]["line"], told["problems"][0]["column"]) == (1, "hexkey")
    told = json.loads(at.run("token", "import", at.file("t.csv", f"A1,{SEED},totp,6,30"), "--json").out)
    assert (told["rows"], told["imported"], told["problems"]) == (1, 1, [])


def test_a_dry_run_checks_everything_and_changes_nothing(at: CommandLine) -> None:
    tokens = at.file("t.csv", f"A1,{SEED},totp,6,30")
    assert "1 token would be imported" in at.run("token", "import", tokens, "--dry-run").out
    customers = at.file("c.csv", "contract_id,token_id", "c1,A1")
    said = at.run("customer", "import", customers, "--dry-run", code=1)
    assert "not in the inventory" in said.err
    assert counted(at) == (0, 0, 0)


def test_what_is_in_the_store_already_is_a_problem_or_is_skipped(at: CommandLine) -> None:
    at.run("token", "import", at.file("t.csv", f"A1,{SEED},totp,6,30"))
    at.run("customer", "import", at.file("c.csv", "contract_id,name,token_id", "c1,first,A1"))
    tokens = at.file("t2.csv", f"a1,{SEED},hotp,8,", f"A2,{SEED},totp,6,30")
    customers = at.file("c2.csv", "contract_id,name,token_id", "c1,second,A1", "c2,,A2")
    assert "--skip-existing" in at.run("token", "import", tokens, code=1).err
    assert "imported 1 token " in at.run("token", "import", tokens, "--skip-existing").out
    assert "line 2, column contract_id" in at.run("customer", "import", customers, code=1).err
    told = json.loads(at.run("customer", "import", customers, "--skip-existing", "--json").out)
    assert (told["imported"], told["skipped"]) == (1, 1)
    assert json.loads(at.run("customer", "show", "c1", "--json").out)["name"] == "first"
    assert json.loads(at.run("token", "show", "A1", "--json").out)["kind"] == "totp"


def test_a_token_that_is_bound_or_lost_is_not_given_away(at: CommandLine) -> None:
    one, other = at.customer(), at.spare_token()
    at.sekisho.desk.tokens.retire(other.token_id, STAFF)
    name = at.file("c.csv", "contract_id,token_id", f"c1,{one.token_id}", f"c2,{other.token_id}")
    said = at.run("customer", "import", name, code=1)
    assert "that token is bound" in said.err and "that token is retired" in said.err


def test_tokens_may_be_shared_where_the_settings_say_so(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, more="[login]\none_customer_per_token = false\n")
    at = CommandLine(sekisho)
    at.run("token", "import", at.file("t.csv", f"A1,{SEED},totp,6,30"))
    at.run("customer", "import", at.file("c.csv", "contract_id,token_id", "c1,A1", "c2,A1"))
    at.run("customer", "import", at.file("c.csv", "contract_id,token_id", "c3,A1"))
    listed = [json.loads(line)["tokens"] for line in at.run("customer", "list", "--json").out.splitlines()]
    assert [[held["token_id"] for held in tokens] for tokens in listed] == [["A1"]] * 3
    sekisho.close()


def test_the_order_of_the_file_is_kept(at: CommandLine) -> None:
    names = [f"c{number * 7919 % 2500}" for number in range(2500)]
    at.run("customer", "import", at.file("c.csv", "contract_id", *names))
    assert [row.customer for row in at.sekisho.audit()][:1000] == names[:1000]


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_pipe_is_read_twice_without_touching_a_disk(name: str, at: CommandLine) -> None:
    with at.spawn("token", "import", name) as process:
        out, err = process.communicate("".join(f"A{one},{SEED},totp,6,30\n" for one in range(3000)))
    assert (process.returncode, "imported 3,000 tokens" in out, err) == (0, True, "")


def test_no_import_tells_a_seed_a_password_or_a_hash(at: CommandLine) -> None:
    at.run("token", "import", at.file("t.csv", f"{SEED},A1,totp,6,30", f"A1,{SEED}0,totp,6,30"), code=1)
    header = "contract_id,password,password_hash"
    at.run("customer", "import", at.file("c.csv", header, f"c1,geheimnis,{HASH}", f",geheimnis,{HASH}X"), code=1)
    at.run("customer", "import", at.file("c.csv", "c1,geheimnis", "c2,geheimnis"), code=1)
    at.run("token", "import", at.file("t.csv", f"A1,{SEED},totp,6,30"))
    at.run("customer", "import", at.file("c.csv", header, "c1,geheimnis,", f"c2,,{HASH}"))
    at.run("audit")
    told = "".join(said.out + said.err for said in at.said)
    assert not any(secret in told for secret in (SEED, "geheimnis", HASH[7:]))


def test_a_file_that_is_not_there_is_a_wrong_command_line(at: CommandLine) -> None:
    assert "No such file" in at.run("token", "import", str(at.folder / "none.csv"), code=2).err


def test_an_interrupted_import_says_how_to_go_on_and_can_be_finished(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, more="hash_threads = 1\n")
    at = CommandLine(sekisho)
    cheap = sekisho.config.read_text()
    sekisho.config.write_text(cheap.replace("memory_kib = 256", "memory_kib = 8192"))
    name = at.file("c.csv", "contract_id,password", *(f"c{one},pass word {one}" for one in range(800)))
    with at.spawn("customer", "import", name) as process:
        wait_for(lambda: counted(at)[0] > 0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 800 rows are done" in err and "--skip-existing" in err
    there = counted(at)[0]
    assert 0 < there < 800 and there % 100 == 0
    sekisho.config.write_text(cheap)
    told = json.loads(at.run("customer", "import", name, "--skip-existing", "--json").out)
    assert told["imported"] + there == 800 == counted(at)[0]
    sekisho.close()


@pytest.mark.sqlite_files
def test_an_import_that_meets_a_full_disk_says_how_far_it_got(at: CommandLine) -> None:
    name = at.file("t.csv", *(f"A{one},{os.urandom(20).hex()},totp,6,30" for one in range(20_000)))
    limit = os.stat(at.sekisho.database).st_size + 1_000_000
    done = subprocess.run(
        ["prlimit", f"--fsize={limit}", *at.command("token", "import", name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "of 20,000 rows are done" in done.stderr and "--skip-existing" in done.stderr
    assert counted(at)[1] == counted(at)[2] > 0


def wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_customer_brings_several_tokens_all_or_none(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, more="[login]\ntokens_per_customer = 2\n")
    at = CommandLine(sekisho)
    seeds = [SEED, SEED[::-1], SEED]
    at.run("token", "import", at.file("t.csv", *(f"A{n},{seed},totp,6,30" for n, seed in enumerate(seeds, 1))))
    for cell, told in {
        "A1;A9": "is not in the inventory: import the tokens first, with token import (token 2 of the cell)",
        "A1;A3": "names tokens with the same seed, which are one token under several IDs",
        "A1;A2;A3": "names more tokens than a customer may have: 2",
    }.items():
        said = at.run("customer", "import", at.file("c.csv", "contract_id,token_id", "c0,", f"c1,{cell}"), code=1)
        assert "line 3, column token_id" in said.err and told in said.err
    assert at.run("customer", "list", "--json").out == ""
    at.run("customer", "import", at.file("c.csv", "contract_id,token_id", "c0,", "c1,A1;A2"))
    shown = json.loads(at.run("customer", "show", "c1", "--json").out)
    assert [(held["token_id"], held["state"]) for held in shown["tokens"]] == [("A1", "bound"), ("A2", "bound")]
    events = [json.loads(line) for line in at.run("audit", "--customer", "c1", "--json").out.splitlines()]
    assert [(row["event"], row["token"]) for row in events] == [("otp.enrolled", "A1"), ("otp.enrolled", "A2")]
    sekisho.close()
