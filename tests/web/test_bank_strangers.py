"""The sample bank and strangers: visitors log no customer out, and whatever they send is answered."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sekisho import Sekisho, running
from tests.web.bank import DEMO_BANK, bank_beside
from tests.web.test_portal_fuzz import FIELDS, KNOWN, Request, encoded, octets_of, requests, statuses


@pytest.fixture
def bank_sessions(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DEMO_BANK))
    return importlib.import_module("sessions")


def test_however_many_visitors_come_no_customer_is_logged_out(bank_sessions: Any) -> None:
    sessions = bank_sessions.Sessions(600, lambda: 0.0)
    taro, hanako = sessions.begin("ja"), sessions.begin("ja")
    sessions.log_in(taro, "taro", with_code=True)
    sessions.challenge(hanako, bank_sessions.Challenge("hanako", b"state", None, ""))
    for _ in range(10_050):
        last = sessions.begin("ja")
    assert sessions.find(taro.id) is taro and sessions.find(hanako.id) is hanako and sessions.find(last.id) is last
    sessions.give_up(hanako)
    assert hanako.login is None and sessions.find(hanako.id) is hanako, "a visitor again"
    sessions.log_out(taro)
    assert taro.login is None and sessions.find(taro.id) is taro


def test_one_customer_logs_no_other_out(bank_sessions: Any) -> None:
    sessions = bank_sessions.Sessions(600, lambda: 0.0)
    taro = sessions.begin("ja")
    sessions.log_in(taro, "taro", with_code=True)
    of_hanako = []
    for _ in range(50):
        one = sessions.begin("ja")
        sessions.log_in(one, "hanako", with_code=False)
        of_hanako.append(one)
    assert sessions.find(taro.id) is taro
    assert [one for one in of_hanako if sessions.find(one.id)] == of_hanako[-bank_sessions.MOST_OF_ONE_CUSTOMER :]


def test_those_that_have_ended_go_first(bank_sessions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(bank_sessions, "MAX_SESSIONS", 3)
    sessions = bank_sessions.Sessions(600, lambda: now)
    used = sessions.begin("ja")
    sessions.begin("ja")
    sessions.begin("ja")
    now = 500.0
    assert sessions.find(used.id) is used
    now = 700.0
    sessions.begin("ja")
    assert sessions.find(used.id) is used


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sekisho, str]]:
    folder = tmp_path_factory.mktemp("bank")
    with running(folder) as sekisho, bank_beside(folder, sekisho.port) as origin:
        yield sekisho, origin


PATHS = ["/", "/login", "/code", "/top", "/logout", "/language/ja/login", "/style.css", "/nowhere"]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=st.lists(st.tuples(requests(), st.sampled_from(PATHS)), min_size=20, max_size=30))
def test_whatever_a_stranger_sends_to_the_bank_is_answered(
    beside: tuple[Sekisho, str], batch: list[tuple[Request, str]]
) -> None:
    origin = beside[1]
    octets = [octets_of(origin, (one[0], path, one[2], one[3])) for one, path in batch]
    found = statuses(int(origin.rpartition(":")[2]), octets)
    assert all(status < 500 for status in found), [one for one, code in zip(batch, found, strict=True) if code >= 500]


def test_any_text_in_a_form_of_the_bank_is_answered(beside: tuple[Sekisho, str]) -> None:
    port, origin = int(beside[1].rpartition(":")[2]), beside[1]
    host = [("Host", origin.removeprefix("http://").encode())]
    for charset in (b"utf-8", b"unicode_escape", b"utf-16", b"rot13", b"\xff"):
        kind = [*host, ("Content-Type", b"application/x-www-form-urlencoded; charset=" + charset)]
        bodies = [encoded(dict.fromkeys(FIELDS, value)) for value in KNOWN] + [
            b"contract_id=%5Cud800&password=%5Cud800"
        ]
        octets = [octets_of(origin, ("POST", "/login", kind, body)) for body in bodies]
        found = set(statuses(port, octets))
        assert found <= {303, 400, 413}, found
