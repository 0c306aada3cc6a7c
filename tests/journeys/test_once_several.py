"""One code, one login, where a customer has several tokens: codes of two of them at once, on one worker and on two."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.model import TokenSpec
from otp_core.otp import code_at, step_at
from tests.radius_peer import ACCEPT, REJECT, Packet, Peers, access_request, names
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table, free_port

CODE, APPENDING = "127.0.1.1", "127.0.2.1"
CLIENTS = client_table("code", CODE, "code") + client_table("appending", APPENDING, "append")
MORE = "[login]\ntokens_per_customer = 3\nlock_after = 100\n[throttle]\nfree_failures = 100\n"


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def sekisho(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    folder: Path = tmp_path_factory.mktemp("several")
    made = Sekisho(folder, CLIENTS, MORE, listen=(f"127.0.0.1:{free_port()}",), workers=request.param)
    try:
        yield made.start()
    finally:
        made.close()


def ask(customer: Customer, user_password: str) -> Packet:
    return access_request(customer.contract_id, user_password, secret=SECRET)


def bind(sekisho: Sekisho, one: Customer, other: Customer) -> None:
    """One more token of the customer's, whose codes are all unused."""
    with sekisho.store.work() as work:
        record, token = work.login_record(one.contract_id), work.token(other.token_id)
        assert record is not None and token is not None
        work.bind_tokens([token.key], shared=False)
        work.bind(record.customer_key, token.key, 0)


def with_two(sekisho: Sekisho, spec: TokenSpec | None = None) -> tuple[Customer, Customer]:
    one, other = sekisho.customer(), sekisho.customer(enrolled=False, spec=spec)
    bind(sekisho, one, other)
    return one, other


def accepted(sekisho: Sekisho, one: Customer) -> Counter[str | None]:
    return Counter(row.token for row in sekisho.audit(one.contract_id, "login.accepted"))


def seeds_of_one_code(step: int) -> tuple[str, tuple[bytes, bytes]]:
    """A code and two seeds whose code it is at this step: among some thousands, two meet."""
    met: dict[str, bytes] = {}
    while True:
        seed = os.urandom(20)
        code = code_at(seed, step, TokenSpec())
        if code in met:
            return code, (met[code], seed)
        met[code] = seed


@pytest.mark.parametrize("spec", [TokenSpec(), TokenSpec(digits=8)], ids=["6 and 6 digits", "6 and 8 digits"])
def test_codes_of_two_tokens_at_once_let_in_once_each(sekisho: Sekisho, spec: TokenSpec) -> None:
    with Peers(sekisho.where, 16, CODE) as peers:
        for _ in range(5):
            one, other = with_two(sekisho, spec)
            codes = [one.code(), other.code()] * 20
            replies = peers.ask_all([ask(one, code) for code in codes], wait=8)
            assert Counter(names(replies)) == {ACCEPT: 2, REJECT: 38}
            assert accepted(sekisho, one) == {one.token_id: 1, other.token_id: 1}
            assert not sekisho.audit(one.contract_id, "customer.locked")


def test_password_and_codes_of_two_lengths_at_once(sekisho: Sekisho) -> None:
    with Peers(sekisho.where, 8, APPENDING) as peers:
        one, other = with_two(sekisho, TokenSpec(digits=8))
        texts = [PASSWORD + one.code(), PASSWORD + other.code()] * 6
        replies = peers.ask_all([ask(one, text) for text in texts], wait=20)
        assert Counter(names(replies)) == {ACCEPT: 2, REJECT: 10}
        assert accepted(sekisho, one) == {one.token_id: 1, other.token_id: 1}


def with_one_code(sekisho: Sekisho) -> tuple[Customer, Customer, str]:
    """Two tokens of one customer, and a code that is in both windows for 30 s and more. Enrolled within its step: a
    moment later the code by which the first token is enrolled would be this one."""
    while True:
        step = step_at(int(time.time() * 1000), 30)
        code, seeds = seeds_of_one_code(step)
        one = sekisho.customer(seed=seeds[0])
        twin = Customer(one.contract_id, "", "TWIN00000001" + one.token_id[-4:], seeds[1])
        sekisho.desk.tokens.import_rows([(twin.token_id, twin.seed, TokenSpec())], STAFF)
        bind(sekisho, one, twin)
        if step_at(int(time.time() * 1000), 30) == step:
            return one, twin, code


def test_digits_that_fit_two_tokens_let_in_once_under_race(sekisho: Sekisho) -> None:
    with Peers(sekisho.where, 16, CODE) as peers:
        one, twin, wanted = with_one_code(sekisho)
        replies = peers.ask_all([ask(one, wanted) for _ in range(40)], wait=8)
        assert Counter(names(replies)) == {ACCEPT: 1, REJECT: 39}
        spent = [row.token for row in sekisho.audit(one.contract_id) if row.event == "token.code-spent"]
        assert {*accepted(sekisho, one), *spent} == {one.token_id, twin.token_id}


def test_a_loss_at_the_desk_stops_one_token_at_once_and_leaves_the_other(sekisho: Sekisho) -> None:
    one, other = with_two(sekisho)
    sekisho.desk.enrolment.report_lost(one.contract_id, STAFF, token_id=other.token_id)
    with Peers(sekisho.where, 4, CODE) as peers:
        replies = [peers.ask(ask(one, code), at=at) for at, code in enumerate([other.code(), one.code()])]
    assert names(replies) == [REJECT, ACCEPT]
