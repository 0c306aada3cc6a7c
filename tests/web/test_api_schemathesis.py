"""Schemathesis against a real server: whatever it makes of the document, whether it fits or not, is answered as the
document says, and nothing fails. The values are the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.config import GenerationConfig

from tests.examples import examples
from tests.sekisho import STAFF
from tests.web.api import Api, api
from tests.web.api_document import HOLDS, by_name, document_of

OPERATIONS = 17
KNOWN = {
    "contract_id": ["taro1", "taro2", "taro3", "taro4", "nobody"],
    "token_id": ["VSMT00000001", "VSMT00000004", "VSMT99999999"],
    "number": ["1", "9999999999999999999"],
}
"""Parts of paths, so that handlers find somebody."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    other = '[console]\nlisten = "127.0.0.1:0"\n[throttle]\nfirst_delay = 0.1\nmax_delay = 0.1\n'
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 100000", other=other) as running:
        for _ in range(3):
            running.sekisho.customer()
        running.sekisho.customer(enrolled=False)
        running.sekisho.desk.enrolment.report_lost("taro3", STAFF)
        yield running


def asked(case: Case[Any], key: str) -> None:
    """Sent, and its answer held to the document."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = case.call(headers=headers, timeout=20)
    case.validate_response(answer, checks=HOLDS, headers=headers)


def test_whatever_schemathesis_makes_of_the_document_is_answered_as_it_says(bank: Api) -> None:
    operations, key = by_name(document_of(bank)), bank.key("everything")
    assert len(operations) >= OPERATIONS
    for one in operations.values():
        modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        for case in one.schema.iter_coverage_cases(
            one, generation_modes=modes, generation_config=GenerationConfig(allow_x00=True)
        ):
            if case.method == one.method.upper():  # other methods, here: 405, which test_api_gate.py holds
                asked(case, key)


def drawn(bank: Api, mode: GenerationMode) -> st.SearchStrategy[Case[Any]]:
    """Cases of every operation; some of those that fit are about somebody who is there."""
    cases = []
    for name, one in by_name(document_of(bank)).items():
        if mode.is_negative and name in ("getDocument", "getPage"):
            continue  # they take nothing that could be wrong
        cases.append(one.as_strategy(generation_mode=mode))
        for part, values in KNOWN.items():
            if mode.is_positive and f"{{{part}}}" in one.path:
                cases += [one.as_strategy(path_parameters={part: value}) for value in values]
    return st.one_of(cases)


def ask_all(cases: st.SearchStrategy[Case[Any]], key: str, number: int) -> None:
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(number)
    @given(case=cases)
    def holds(case: Case[Any]) -> None:
        asked(case, key)

    holds()


@pytest.mark.parametrize("mode", GenerationMode)
def test_whatever_schemathesis_draws_is_answered_as_the_document_says(bank: Api, mode: GenerationMode) -> None:
    ask_all(drawn(bank, mode), bank.key(f"draws-{mode}"), examples(150))


@pytest.mark.soak
@pytest.mark.parametrize("mode", GenerationMode)
def test_whatever_schemathesis_draws_for_long_is_answered_as_the_document_says(bank: Api, mode: GenerationMode) -> None:
    ask_all(drawn(bank, mode), bank.key(f"long-{mode}"), 5000)


def test_nothing_of_that_was_a_fault(bank: Api) -> None:
    """Behind the tests before: no traceback, and the server serves."""
    assert "an answer could not be made" not in bank.sekisho.log_text()
    assert "Traceback" not in bank.sekisho.log_text()
    assert bank.get("/api/v1/openapi.json").status == 200
