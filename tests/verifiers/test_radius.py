"""A RADIUS server as the verifier of codes: FreeRADIUS takes the code alone, as an Enterprise Gateway does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from otp_core.store.unit_of_work import NewCustomer
from tests.radius.tools import heard, login, radclient, received
from tests.sekisho import SECRET, STAFF, Sekisho, running
from tests.upstreams.freeradius import SECRET as UPSTREAM_SECRET
from tests.upstreams.freeradius import FreeRadius, freeradius
from tests.upstreams.raw import CHALLENGE, REPLY_MESSAGE, STATE, Asked, RawUpstream, accepts, silent

CODE = "246802"
"""Right for everybody, as often as it is asked: this server does not use codes up."""
_QUESTIONS = """
		if (!&State && &User-Password == "135246") {
			update reply {
				&Message-Authenticator := 0x00
				&State := 0x70696e
				&Reply-Message := "Enter a new PIN"
			}
			update control {
				&Response-Packet-Type := Access-Challenge
			}
			handled
		}
		elsif (&State == 0x70696e && &User-Password == "4711") {
			update reply {
				&Message-Authenticator := 0x00
				&State := 0x6e657874
				&Reply-Message := "Wait for the next code"
			}
			update control {
				&Response-Packet-Type := Access-Challenge
			}
			handled
		}
		elsif (&State == 0x6e657874 && &Calling-Station-Id == "203.0.113.7") {
			update control {
				&Cleartext-Password := "531642"
			}
		}
"""
"""A token of which a new PIN and the next code are wanted, as of an RSA server."""

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
    with freeradius(tmp_path_factory.mktemp("gateway"), questions=_KNOWS + _QUESTIONS) as one:
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
    asking = settings("asks", gateway.port) + settings("raw", odd[0].port)
    more += asking.replace('challenges = "refuse"', 'challenges = "relay"')
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
    assert sekisho.login(hana, "975310", wait=2) == "silence"
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


def test_a_question_that_nobody_can_answer_is_refused_and_no_failure(
    sekisho: Sekisho, odd: tuple[RawUpstream, RawUpstream]
) -> None:
    """Two States: RFC 2865 section 5.24 allows one at most."""
    odd[0].answer = lambda asked: [asked.reply(CHALLENGE, (STATE, b"x"), (STATE, b"y"))]
    goro = holder(sekisho, "goro", "VSMT80000007", "raw")
    assert sekisho.login(goro, "445566") == "Access-Reject"
    assert failures(sekisho, goro) == 0
    assert "it has more than one State" in sekisho.log_text()


def test_its_questions_are_passed_on_and_answered_once(sekisho: Sekisho, gateway: FreeRadius) -> None:
    saburo = holder(sekisho, "saburo", "VSMT80000004", "asks")
    station = ',Calling-Station-Id="203.0.113.7"'
    first = radclient(sekisho.port, login(saburo, "135246") + station)
    assert (heard(first), received(first, "Reply-Message")) == ("Access-Challenge", ["Enter a new PIN"])
    second = radclient(sekisho.port, login(saburo, "4711", received(first, "State")[0]))
    assert (heard(second), received(second, "Reply-Message")) == ("Access-Challenge", ["Wait for the next code"])
    again = radclient(sekisho.port, login(saburo, "4711", received(first, "State")[0]))
    assert heard(again) == "Access-Reject", "that question has been answered"
    state = received(second, "State")[0]
    stranger = holder(sekisho, "stranger", "VSMT80000005", "asks")
    assert heard(radclient(sekisho.port, login(stranger, "531642", state))) == "Access-Reject"
    third = radclient(sekisho.port, login(saburo, "531642", state))
    assert heard(third) == "Access-Accept"
    asked = gateway.asked(saburo)
    assert len(asked) == 3 and gateway.asked(stranger) == []
    assert all('Calling-Station-Id = "203.0.113.7"' in one for one in asked), "said in the first round, known in all"
    assert {"0x70696e", "0x6e657874"}.isdisjoint({state, received(first, "State")[0]})
    assert [row.reason for row in sekisho.audit(saburo, "login.")] == [
        "the verifier asks a further question", "the verifier asks a further question",
        "challenge unknown, used, expired or somebody else's", "right code",
    ]  # fmt: skip
    assert failures(sekisho, saburo) == 0


def test_a_wrong_answer_counts_as_a_wrong_code_and_ends_the_login(sekisho: Sekisho) -> None:
    shiro = holder(sekisho, "shiro", "VSMT80000006", "asks")
    first = radclient(sekisho.port, login(shiro, "135246"))
    state = received(first, "State")[0]
    assert heard(radclient(sekisho.port, login(shiro, "0000", state))) == "Access-Reject"
    assert failures(sekisho, shiro) == 1
    assert heard(radclient(sekisho.port, login(shiro, "4711", state))) == "Access-Reject"
