"""Whatever a program with every scope sends, by a real server: nothing that fails, nothing that the document does not
say. The operations come from the site's own table.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin_web.api.models import Problem
from admin_web.api.operations import Operation
from admin_web.api.problems import MEANINGS
from tests.examples import examples
from tests.sekisho import STAFF
from tests.web.api import Api, Told, api, table_of

IDS = ("taro1", "taro2", "taro3", "VSMT00000001", "VSMT00000004", "nobody", "ｔａｒｏ１", "0", "1825641283912704413")
TEXTS = st.one_of(st.sampled_from((*IDS, "", "true", "active", "login.", "000000", "2026-01-01T00:00:00Z")), st.text())
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    console = '[console]\nlisten = "127.0.0.1:0"\n[throttle]\nfirst_delay = 0.1\nmax_delay = 0.1\n'
    more = "requests_per_second = 100000"
    with api(tmp_path_factory.mktemp("api"), more=more, other=console) as running:
        for _ in range(3):
            running.sekisho.customer()
        running.sekisho.customer(enrolled=False)
        running.sekisho.desk.enrolment.report_lost("taro3", STAFF)
        yield running


@pytest.fixture(scope="module")
def key(bank: Api) -> str:
    return bank.key("everything")


@pytest.fixture(scope="module")
def operations(bank: Api) -> list[Operation]:
    return table_of(bank)


def quoted(text: str) -> str:
    return urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="")


def path_of(data: st.DataObject, one: Operation) -> str:
    parts = [(quoted(data.draw(TEXTS)) or "%20") if part.startswith("{") else part for part in one.path.split("/")]
    fields = list(one.query.model_fields) if one.query else []
    names = st.one_of(st.sampled_from(fields), TEXTS) if fields else TEXTS
    asked = data.draw(st.lists(st.tuples(names, TEXTS), max_size=3))
    query = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in asked)
    return "/".join(parts) + (f"?{query}" if query else "")


def body_of(data: st.DataObject, one: Operation) -> bytes | None:
    if one.body is None:
        return None
    of_form = st.fixed_dictionaries({}, optional=dict.fromkeys(one.body.model_fields, st.one_of(TEXTS, VALUES)))
    value: Any = data.draw(st.one_of(of_form, VALUES))
    return data.draw(st.one_of(st.just(json.dumps(value).encode()), st.binary(max_size=40)))


def holds(told: Told, one: Operation) -> None:
    """Whether the document says that this may be answered."""
    if told.status in one.answers:
        model = one.answers[told.status][1]
        assert model is None or model.model_validate_json(json.dumps(told.json))
        return
    problem = Problem.model_validate_json(json.dumps(told.json))
    assert told.status < 500, told.json
    if one.body is None or told.status != 404:  # a part of the path may make it another one
        assert problem.type in one.every_problem or told.status == 404, told.json
    assert MEANINGS[problem.type].status == told.status


@given(data=st.data())
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_is_answered_as_the_document_says(
    bank: Api, key: str, operations: list[Operation], data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(operations))
    headers = data.draw(st.fixed_dictionaries({}, optional={"Idempotency_Key": st.sampled_from(("a", "b", "", " x"))}))
    told = bank.ask(one.method, path_of(data, one), raw=body_of(data, one), key=key, **headers)
    holds(told, one)


def test_nothing_of_that_was_a_fault(bank: Api) -> None:
    """Behind the tests before: no traceback, and the server serves."""
    assert "an answer could not be made" not in bank.sekisho.log_text()
    assert "Traceback" not in bank.sekisho.log_text()
    assert bank.get("/api/v1/openapi.json").status == 200
