"""CHAP: a code alone is found by its hash; a password alone goes to the RADIUS server that knows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from otp_core.authentication.chap import code_behind
from otp_core.model import Chap
from tests.core.bank import Bank
from tests.radius.tools import heard, radclient
from tests.sekisho import PASSWORD, Customer, Sekisho, client_table
from tests.upstreams.freeradius import FreeRadius, freeradius, settings_of

ACCEPT, REJECT = "Access-Accept", "Access-Reject"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("upstream")) as one:
        yield one


@pytest.fixture(scope="module")
def sekisho(upstream: FreeRadius, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    factors = {"code": "local", "password": "core-passwords", "append": "core-passwords", "local": "local"}
    clients = "".join(
        client_table(
            name, "127.0.0.0/8", "password" if name == "local" else name,
            nas_identifier=f'"{name}"', first_factor=f'"{factor}"',
        )
        for name, factor in factors.items()
    )  # fmt: skip
    one = Sekisho(tmp_path_factory.mktemp("sekisho"), clients=clients, more=settings_of(upstream.port))
    try:
        yield one.start()
    finally:
        one.close()


def chap(sekisho: Sekisho, client: str, one: Customer, text: str) -> str:
    """By radclient, which makes the hash and the challenge."""
    attributes = f'User-Name="{one.contract_id}",CHAP-Password="{text}",NAS-Identifier="{client}"'
    return heard(radclient(sekisho.port, attributes))


def test_a_code_is_accepted_once_and_a_wrong_one_is_counted(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    used = one.code()
    assert chap(sekisho, "code", one, used) == ACCEPT
    assert chap(sekisho, "code", one, used) == REJECT
    assert chap(sekisho, "code", one, "000000") == REJECT
    assert chap(sekisho, "code", one, one.next_code(used)) == ACCEPT
    assert [row.reason for row in sekisho.audit(one.contract_id, "login.")] == [
        "right code", "reused code", "wrong code", "right code",
    ]  # fmt: skip
    assert chap(sekisho, "code", Customer("nobody", "", "", b""), "000000") == REJECT


def test_a_password_is_checked_where_it_is_known(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = sekisho.customer(password="")
    assert chap(sekisho, "password", one, PASSWORD) == ACCEPT
    assert chap(sekisho, "password", one, "wrong") == REJECT
    first, _ = upstream.asked(one.contract_id)
    assert "CHAP-Challenge" in first and "CHAP-Password" in first and "User-Password" not in first


def test_the_hash_of_an_empty_password_is_refused_and_nobody_is_asked(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = sekisho.customer(password="")
    challenge = os.urandom(16)
    empty = b"\7" + md5(b"\7" + challenge).digest()  # noqa: S324
    attributes = f"User-Name={one.contract_id},CHAP-Password=0x{empty.hex()},CHAP-Challenge=0x{challenge.hex()}"
    assert heard(radclient(sekisho.port, attributes + ',NAS-Identifier="password"')) == REJECT
    assert [row.reason for row in sekisho.audit(one.contract_id, "login.")] == ["wrong password"]
    assert upstream.asked(one.contract_id) == []


@pytest.mark.parametrize("client", ["append", "local"])
def test_elsewhere_it_is_refused_without_an_attempt_and_the_log_names_the_setting(
    sekisho: Sekisho, client: str
) -> None:
    one = sekisho.customer()
    assert chap(sekisho, client, one, PASSWORD) == REJECT
    assert sekisho.audit(one.contract_id, "login.") == []
    sekisho.wait_for_log('let the client use PAP, or set mode = "code"')


def made(secret: bytes) -> Chap:
    challenge = os.urandom(16)
    return Chap(7, md5(b"\7" + secret + challenge).digest(), challenge)  # noqa: S324


def test_what_is_found_is_the_code_or_one_that_is_wrong_for_certain(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with bank.store.work() as work:
        record = work.login_record("taro")
    assert record is not None
    now = bank.guarded.now()
    code = taro.code()
    assert code_behind(made(code.encode()), record, bank.evaluator, now) == code
    wrong = code_behind(made(b"no code"), record, bank.evaluator, now)
    assert len(wrong) == 6 and wrong not in bank.evaluator.codes_near(record.tokens[0], now)
    assert code_behind(made(b""), None, bank.evaluator, now) == ""
    assert made(b"x").is_made_with(b"x") and not made(b"x").is_made_with(b"y")
