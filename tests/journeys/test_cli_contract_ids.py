"""Contract IDs as people type and paste them, at the command line; and those that an older version stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.store.queries import contract_ids
from otp_core.store.unit_of_work import NewCustomer
from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho

TYPED = ["123-4567", "１２３−４５６７", "123-4567\u200b", "123 - 4567", "123‐4567", "１２３ー４５６７", " 123—4567 "]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path)
    yield CommandLine(sekisho)
    sekisho.close()


def stored(at: CommandLine, *ids: str) -> None:
    """Put customers into the store as an older version did."""
    with at.sekisho.store.work() as work:
        work.add_customers([NewCustomer(one, None) for one in ids])


def kept(at: CommandLine) -> list[str]:
    with at.sekisho.store.read() as connection:
        return sorted(contract_ids(connection))


@pytest.mark.parametrize("typed", TYPED)
def test_a_customer_is_found_however_the_hyphen_is_typed(at: CommandLine, typed: str) -> None:
    at.run("customer", "add", "123-4567")
    assert json.loads(at.run("customer", "show", typed, "--json").out)["contract_id"] == "123-4567"
    assert "taken" in at.run("customer", "add", typed, code=1).err
    assert kept(at) == ["123-4567"]


def test_init_stores_what_nobody_can_type_in_the_form_that_is_looked_for(at: CommandLine) -> None:
    stored(at, "123\u22124567", "taro\u200b", "plain-1")
    assert "2 are stored in a form that nobody can type" in at.run("doctor").out
    said = at.run("init").out
    assert "contract ID $'123\\u22124567' is stored as 123-4567 now" in said
    assert "contract ID $'taro\\u200b' is stored as taro now" in said
    assert kept(at) == ["123-4567", "plain-1", "taro"]
    renamed = [(row.event, row.customer, row.reason) for row in at.sekisho.audit()]
    assert ("customer.renamed", "123-4567", "init; was 123\u22124567") in renamed
    assert "stored as" not in at.run("init").out
    assert "each is stored in the form that is looked for" in at.run("doctor").out


def test_init_lists_stored_ids_that_collide_now_and_changes_nothing(at: CommandLine) -> None:
    colliding = ["123-4567", "123\u22124567", "9\u20148", "9\u20138"]
    stored(at, *colliding)
    for words in (["init"], ["init"], ["doctor"]):
        said = at.run(*words).out
        assert "123-4567 and $'123\\u22124567' are read as one now" in said
        assert "$'9\\u20138' and $'9\\u20148' are read as one now" in said
        assert kept(at) == sorted(colliding)
    assert at.sekisho.audit() == []


def test_a_collision_is_ended_by_another_id_and_init_does_the_rest(at: CommandLine) -> None:
    stored(at, "9\u20148", "9\u20138")
    at.run("customer", "rename", "9\u20148", "98-2", "--reason", "ticket 7")
    assert "contract ID $'9\\u20138' is stored as 9-8 now" in at.run("init").out
    assert kept(at) == ["9-8", "98-2"]


def test_the_audit_trail_of_a_customer_goes_back_beyond_another_id(at: CommandLine) -> None:
    at.run("customer", "add", "first")
    at.run("customer", "rename", "first", "second")
    at.run("customer", "rename", "second", "third", "--reason", "was wrong")
    at.run("customer", "lock", "third")
    lines = [json.loads(line) for line in at.run("audit", "--customer", "third", "--json").out.splitlines()]
    assert [(line["event"], line["customer"]) for line in lines] == [
        ("customer.added", "first"),
        ("customer.renamed", "second"),
        ("customer.renamed", "third"),
        ("customer.locked", "third"),
    ]
    at.run("customer", "rename", "third", "first")
    assert len(at.run("audit", "--customer", "first").out.splitlines()) == 5


def test_renaming_keeps_token_and_password_and_takes_no_id_that_is_taken(at: CommandLine) -> None:
    one, other = at.customer(), at.customer()
    assert "taken" in at.run("customer", "rename", one.contract_id, other.contract_id, code=1).err
    assert "no such customer" in at.run("customer", "rename", "nobody", "new", code=1).err
    at.run("customer", "rename", one.contract_id, "ｎｅｗ－1", code=0)
    shown = json.loads(at.run("customer", "show", "new-1", "--json").out)
    (held,) = shown["tokens"]
    assert (held["token_id"], shown["otp_use"], shown["password_held"]) == (one.token_id, "active", True)
