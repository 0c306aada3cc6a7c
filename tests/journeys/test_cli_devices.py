"""The commands for a customer with several tokens: what is said, and what is refused with nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.command_line import CommandLine
from tests.sekisho import Customer, Sekisho


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path, more="[login]\ntokens_per_customer = 2\n")
    yield CommandLine(sekisho)
    sekisho.close()


def tokens(at: CommandLine, one: Customer) -> list[tuple[str, str | None]]:
    shown = json.loads(at.run("customer", "show", one.contract_id, "--json").out)
    return [(held["token_id"], held["name"]) for held in shown["tokens"]]


def with_two(at: CommandLine) -> tuple[Customer, Customer]:
    one, other = at.customer(), at.spare_token()
    given = f"{one.code()}\n{other.previous_code()}\n"
    told = at.run("device", "add", one.contract_id, other.token_id, "--name", "PC", "--json", user_password=given)
    assert json.loads(told.out)["done"] == "otp.token-added"
    return one, other


def test_a_second_token_is_shown_with_its_name_and_a_third_is_refused(at: CommandLine) -> None:
    one, other = with_two(at)
    assert tokens(at, one) == [(one.token_id, None), (other.token_id, "PC")]
    shown = at.run("customer", "show", one.contract_id).out
    assert f'token 2:       {other.token_id} (bound, "PC", since ' in shown
    assert f"{one.token_id} {other.token_id}" in at.run("customer", "list").out
    third, given = at.spare_token(), f"{one.code(1)}\n00000000\n"
    said = at.run("device", "add", one.contract_id, third.token_id, user_password=given, code=1).err
    assert "as many tokens as they may have: 2 of 2" in said
    assert len(tokens(at, one)) == 2


def test_a_command_about_one_token_says_which_there_are(at: CommandLine) -> None:
    one, other = with_two(at)
    new = at.spare_token()
    for words, given in (
        (("report-lost", one.contract_id), ""),
        (("resync", one.contract_id), "12345678\n87654321\n"),
        (("change", one.contract_id, new.token_id), "12345678\n87654321\n"),
    ):
        said = at.run(*words, user_password=given, code=1).err
        assert one.token_id in said and other.token_id in said and "say which one" in said
    assert len(tokens(at, one)) == 2


def test_one_of_two_is_lost_and_then_the_other(at: CommandLine) -> None:
    one, other = with_two(at)
    said = at.run("report-lost", one.contract_id, "--token", other.token_id.lower()).out
    assert f"reported {other.token_id} of {one.contract_id} lost; their other tokens go on working" in said
    assert tokens(at, one) == [(one.token_id, None)]
    assert f"next: sekisho permit-reissue {one.contract_id}" in at.run("report-lost", one.contract_id).out


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "x" * 41])
def test_a_name_that_is_none_is_refused_and_steers_no_terminal(at: CommandLine, name: str) -> None:
    one, other = with_two(at)
    said = at.run("device", "name", one.contract_id, other.token_id, name, code=1).err
    assert "not a name for a token" in said and "\x1b" not in said
    assert tokens(at, one)[1] == (other.token_id, "PC")


@pytest.mark.parametrize("with_code", [True, False])
def test_a_token_is_removed_and_the_only_one_stays(at: CommandLine, with_code: bool) -> None:
    one, other = with_two(at)
    words = ("device", "remove", one.contract_id, other.token_id, *(["--with-code"] if with_code else []))
    at.run(*words, user_password=f"{one.code(1)}\n" if with_code else "")
    assert tokens(at, one) == [(one.token_id, None)]
    assert "it is the only token" in at.run("device", "remove", one.contract_id, one.token_id, code=1).err
