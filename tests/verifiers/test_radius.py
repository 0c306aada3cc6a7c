"""A RADIUS server as the verifier of codes: FreeRADIUS takes the code alone, as an Enterprise Gateway does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from otp_core.store.unit_of_work import NewCustomer
from tests.sekisho import SECRET, STAFF, Sekisho, running
from tests.upstreams.freeradius import SECRET as UPSTREAM_SECRET
from tests.upstreams.freeradius import FreeRadius, freeradius
from tests.upstreams.raw import CHALLENGE, REPLY_MESSAGE, STATE, Asked, RawUpstream, accepts, silent

CODE = "246802"
"""Right for everybody, as often as it is asked: this server does not use codes up."""
_KNOWS = f"""
		update control {{
			&Cleartext-Password := "{CODE}"
		}}
"""


def settings(name: str, *servers: int) -> str:
    addresses = ", ".join(f'"127.0.0.1:{port}"' for port in servers)
    return (
        f'[[upstreams]]\nname = "{name}-server"\nservers = [{addresses}]\nsecret = "{UPSTREAM_SECRET}"\n'
        'timeout = 0.4\ntries = 2\nstatus_server = false\nchallenges = "refuse"\n'
        f'[[verifiers]]\nname = "{name}"\ntype = "radius"\nupstream = "{name}-server"\n'
    )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("gateway"), questions=_KNOWS) as one:
        yield one


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[RawUpstream, RawUpstream]]:
    with RawUpstream(silent) as first, RawUpstream(accepts) as second:
        yield first, second


@pytest.fixture(scope="module")
def sekisho(
    gateway: FreeRadius, odd: tuple[RawUpstream, RawUpstream], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sekisho]:
    more = settings("eg", gateway.port) + settings("odd", *(one.port for one in odd))
    with running(tmp_path_factory.mktemp("bank"), "code", more=more) as one:
        yield one


def holder(sekisho: Sekisho, contract_id: str, token_id: str, verifier: str) -> str:
    sekisho.desk.tokens.import_elsewhere([token_id], verifier, STAFF)
    with sekisho.store.work() as work:
        record = work.token(token_id)
    assert record is not None
    new = NewCustomer(contract_id, None, token_key=record.key)
    sekisho.desk.customers.import_rows([new], [token_id], STAFF)
    return contract_id


def failures(sekisho: Sekisho, contract_id: str) -> int:
    with sekisho.store.work() as work:
        record = work.login_record(contract_id)
    assert record is not None
    return record.failures


def test_a_code_goes_there_alone_and_is_good_once_here(sekisho: Sekisho, gateway: FreeRadius) -> None:
    taro = holder(sekisho, "taro", "VSMT80000001", "eg")
    assert sekisho.login(taro, "13 57 91") == "Access-Reject"
    assert failures(sekisho, taro) == 1
    assert sekisho.login(taro, CODE) == "Access-Accept"
    assert failures(sekisho, taro) == 0
    # It says yes once more: that the code was used is known here.
    assert sekisho.login(taro, CODE) == "Access-Reject"
    assert sekisho.audit(taro)[-1].reason == "reused code"
    (asked, *_) = gateway.asked(taro)
    assert 'User-Name = "taro"' in asked and "Proxy-State" in asked


def test_a_code_is_sent_to_one_server_alone_and_its_silence_is_ours(
    sekisho: Sekisho, odd: tuple[RawUpstream, RawUpstream]
) -> None:
    first, second = odd
    hana = holder(sekisho, "hana", "VSMT80000002", "odd")
    first.answer = silent
    assert sekisho.login(hana, "975310") == "silence"
    assert {one.password for one in first.logins} == {b"975310"}
    assert second.logins == [], "the code may have been used up"
    assert failures(sekisho, hana) == 0
    # The first one is known to be dead by now: the next code goes to the second.
    assert sekisho.login(hana, "864202") == "Access-Accept"
    assert [one.password for one in second.logins] == [b"864202"]


def test_a_question_is_refused_and_said_in_the_log(sekisho: Sekisho, odd: tuple[RawUpstream, RawUpstream]) -> None:
    def asks(asked: Asked) -> Iterable[bytes]:
        return [asked.reply(CHALLENGE, (STATE, b"x"), (REPLY_MESSAGE, b"next code"))]

    for one in odd:
        one.answer = asks
    jiro = holder(sekisho, "jiro", "VSMT80000003", "odd")
    assert sekisho.login(jiro, "112233") == "Access-Reject"
    assert failures(sekisho, jiro) == 0
    assert sekisho.audit(jiro)[-1].reason == "the verifier wants the next code, too"
    text = sekisho.log_text()
    assert "a question of an upstream about a code is refused" in text and "112233" not in text
    assert SECRET not in text
