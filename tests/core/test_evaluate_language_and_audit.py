"""The language of a verdict, and the audit row that each one leaves."""

from __future__ import annotations

from otp_core.login.requests import LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Challenge, Language, Mode, Policy, Reject
from otp_core.sealing import Sealer
from tests.core.bank import CODE
from tests.core.evaluator_harness import SEALER, WRONG, attempt, code, code_of, first, make_harness, second


def test_a_customer_is_asked_in_their_language_before_the_clients() -> None:
    harness = make_harness()
    verdict = harness.verdict(first())
    assert isinstance(verdict, Challenge) and verdict.language is Language.JA
    harness.change(language="en")
    verdict = harness.verdict(first())
    assert isinstance(verdict, Challenge) and verdict.language is Language.EN


def test_a_refusal_is_in_the_clients_language_so_that_it_does_not_tell_who_is_a_customer() -> None:
    harness = make_harness()
    harness.change(language="ja")
    english = Policy(Mode.CODE, language=Language.EN)
    refusals = [harness.verdict(code(WRONG, who, english)) for who in ("taro", "nobody")]
    assert refusals == [Reject(Finding.WRONG, Language.EN), Reject(Finding.UNKNOWN_CUSTOMER, Language.EN)]


def test_an_unknown_customer_is_spoken_to_in_the_clients_language() -> None:
    english = Policy(Mode.CODE, language=Language.EN)
    assert make_harness().verdict(code(WRONG, "nobody", english)) == Reject(Finding.UNKNOWN_CUSTOMER, Language.EN)


def test_every_verdict_leaves_a_row_that_says_who_what_where_and_why() -> None:
    harness = make_harness()
    harness.run_batch(
        code(code_of(), client="vpn", source="192.0.2.7"), code("123456", "nobody", calling_station_id="198.51.100.9")
    )
    accepted, rejected = harness.audit
    assert accepted[1:] == ("login.accepted", "vpn", "taro", "VSMT00000001", "192.0.2.7", "right code")
    nobody = SEALER.name_fingerprint("nobody")
    assert rejected[1:] == ("login.rejected", "gateway", nobody, None, "198.51.100.9", "unknown customer")
    assert accepted.id < rejected.id


def test_every_verdict_knows_its_row() -> None:
    harness = make_harness()
    requests = [first(), code(WRONG), code(code_of()), code("1", "nobody")]
    verdicts = [verdict for request in requests for verdict in harness.run_batch(request)]
    assert [getattr(verdict, "row", None) for verdict in verdicts] == harness.audit
    (again,) = harness.run_batch(second(verdicts[0].state, WRONG))  # type: ignore[union-attr]
    assert isinstance(again, Challenge) and again.row == harness.audit[-1]


def test_a_name_that_is_no_customer_s_is_not_written_down() -> None:
    """A password may have been typed into the field of the name."""
    harness = make_harness()
    harness.run_batch(code(WRONG, "himitsu-no-aikotoba"))
    assert "himitsu" not in repr(harness.audit)
    assert harness.audit[0].customer == SEALER.name_fingerprint("himitsu-no-aikotoba")
    assert Sealer(bytes(32)).name_fingerprint("himitsu-no-aikotoba") != harness.audit[0].customer, "it is keyed"


def test_nothing_secret_is_written_down_or_shown() -> None:
    harness = make_harness()
    secret = attempt("taro", CODE, user_password="hunter2", challenge=b"the state")
    request = LoginRequest(secret, Stage.CODE, code=code_of())
    verdicts = harness.run_batch(request, first())
    shown = repr([request, verdicts, harness.audit, secret])
    for word in ("hunter2", "the state", code_of(), repr(next(iter(harness.challenges)))):
        assert word not in shown
