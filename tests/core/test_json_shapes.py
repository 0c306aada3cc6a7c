"""The JSON that programs read: these keys in this order, with these values, at the command line and everywhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from otp_core import json_shapes
from otp_core.accounts import IssuedToken, Receipt, ReissuePermit
from otp_core.audit import id_at
from otp_core.authentication.dry_run import Asked, Round
from otp_core.authentication.explanation import Explanation, TokenFit
from otp_core.login.table import Finding
from otp_core.model import Language, LoginRecord, LoginToken, Mode, Policy, Reject, Silence
from otp_core.otp import Fit
from otp_core.store.bindings import HeldToken
from otp_core.store.outbox import Waiting
from otp_core.store.queries import AuditLine, CustomerLine, TokenLine
from otp_core.store.sessions import SessionLine

MOMENT = 1_800_000_015_123
TOLD = "2027-01-15T17:00:15.123+09:00"
KEY = id_at(MOMENT)


@pytest.fixture(autouse=True)
def _in_japan(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_time_is_told_with_its_zone_and_never_is_none() -> None:
    assert json_shapes.local_time(MOMENT) == TOLD
    assert json_shapes.local_time(0) is None
    assert json_shapes.local_time(None) is None


def test_a_customer() -> None:
    tokens = (HeldToken("VSMT1", "bound", "my phone", MOMENT, MOMENT), HeldToken("VSMT2", "bound", None, 0, 0))
    line = CustomerLine(
        "c1", "active", MOMENT, 2, "山田", "t@example.jp", "ja", '{"Class": "gold"}', True, "ヤマダ", tokens
    )
    assert json.dumps(json_shapes.customer(line), ensure_ascii=False) == (
        '{"contract_id": "c1", "otp_use": "active", "tokens": ['
        f'{{"token_id": "VSMT1", "state": "bound", "name": "my phone", "bound_since": "{TOLD}", '
        f'"last_code": "{TOLD}"}}, '
        '{"token_id": "VSMT2", "state": "bound", "name": null, "bound_since": null, "last_code": null}], '
        f'"locked_since": "{TOLD}", "failures": 2, "name": "山田", "reading": "ヤマダ", "email": "t@example.jp", '
        '"language": "ja", '
        f'"attributes": {{"Class": "gold"}}, "password_held": true}}'
    )


def test_a_login_that_was_explained() -> None:
    code = Policy(Mode.CODE)
    token = LoginToken(1, "VSMT1", b"", "local", "totp", "sha1", 6, 30, 0, 0, 0, MOMENT)
    record = LoginRecord("c1", 2, "active", None, 2, MOMENT, 0, None, None, [token])
    wrong = Round(
        "the code", Reject("wrong-code", Language.JA), Finding.WRONG, "wrong code: correct code, 3 steps late"
    )
    fit = TokenFit("VSMT1", Fit.WRONG, None, "correct code, 3 steps late", MOMENT, near=True)
    found = Explanation(
        Asked("c1", code, "ib"), (wrong,), record, wait_seconds=1.26, tokens=(fit,), effects=("count",), near=True
    )
    assert json.dumps(json_shapes.login_explained(found, ["sekisho resync c1"])) == (
        '{"customer": "c1", "known": true, "client": "ib", "mode": "code", "answer": "Access-Reject", '
        '"finding": "wrong-code", "why": "wrong code: correct code, 3 steps late", "rounds": [{"sent": "the code", '
        '"answer": "Access-Reject", "why": "wrong code: correct code, 3 steps late"}], "otp_use": "active", '
        '"locked_since": null, "failures": 2, "wait_seconds": 1.3, "wrong_passwords": 0, "tokens": [{"token_id": '
        f'"VSMT1", "code": "wrong", "away": null, "words": "correct code, 3 steps late", "last_code": "{TOLD}"}}], '
        '"would": ["count"], "next": [{"step": "resync", "text": '
        '"Correct the token\'s time, by two codes that follow one another."}], "commands": ["sekisho resync c1"], '
        '"notes": []}'
    )


def test_a_login_of_nobody_and_one_that_depends_on_the_code() -> None:
    silent = Round("", Silence("the clock was set back"), None, "the clock was set back")
    nobody = json_shapes.login_explained(Explanation(Asked("c1", Policy(Mode.CODE), "ib"), (silent,)), [])
    assert (nobody["known"], nobody["answer"], nobody["finding"]) == (False, "silence", None)
    assert (nobody["otp_use"], nobody["failures"], nobody["tokens"]) == (None, None, [])
    depends = json_shapes.login_explained(
        Explanation(Asked("c1", Policy(Mode.CODE), "ib"), (silent,), code_missing=True), []
    )
    assert (depends["answer"], depends["rounds"]) == (None, [])


def test_a_customer_of_whom_little_is_known() -> None:
    line = CustomerLine("c1", "none", None, 0, None, None, None, None, password_held=False)
    assert json.dumps(json_shapes.customer(line)) == (
        '{"contract_id": "c1", "otp_use": "none", "tokens": [], "locked_since": null, '
        '"failures": 0, "name": null, "reading": null, "email": null, "language": null, '
        '"attributes": null, "password_held": false}'
    )


def test_a_token_by_the_clock_and_one_by_a_counter() -> None:
    line = TokenLine("VSMT1", "totp", "sha1", 6, 30, "bound", "c1", 60_000_000, -1, MOMENT, "local")
    assert json.dumps(json_shapes.token(line)) == (
        '{"token_id": "VSMT1", "state": "bound", "contract_id": "c1", "verifier": "local", "kind": "totp", '
        f'"algorithm": "sha1", "digits": 6, "step": 30, "drift": -1, "last_code": "{TOLD}"}}'
    )
    counter = json_shapes.token(line._replace(kind="hotp", last_at=0))
    assert (counter["step"], counter["last_code"]) == (None, None)


def test_a_session() -> None:
    line = SessionLine(KEY, "c1", "192.0.2.1", MOMENT, MOMENT)
    assert json.dumps(json_shapes.session(line)) == (
        f'{{"number": {KEY}, "contract_id": "c1", "source": "192.0.2.1", "began": "{TOLD}", "last_seen": "{TOLD}", '
        f'"ends": "{TOLD}"}}'
    )


def test_an_audit_row() -> None:
    line = AuditLine(KEY, "otp.enrolled", "staff", "c1", None, "cli", "ticket 7", "web1")
    assert json.dumps(json_shapes.audit_row(line)) == (
        f'{{"id": {KEY}, "time": "{TOLD}", "event": "otp.enrolled", "actor": "staff", "customer": "c1", "token": null, '
        '"source": "cli", "reason": "ticket 7", "node": "web1"}'
    )


def test_a_notice() -> None:
    line = Waiting(KEY, "c1", "otp.enrolled", "VSMT1", "t@example.jp", "ja", "pending", 1, MOMENT, "refused")
    assert json.dumps(json_shapes.notice(line)) == (
        f'{{"key": {KEY}, "contract_id": "c1", "event": "otp.enrolled", "token_id": "VSMT1", "email": "t@example.jp", '
        f'"language": "ja", "state": "pending", "attempts": 1, "next_at": "{TOLD}", "error": "refused", '
        f'"at": "{TOLD}"}}'
    )


def test_what_an_act_gives() -> None:
    receipt = Receipt(7, "c1", "VSMT1")
    assert json.dumps(json_shapes.receipt("otp.enrolled", receipt)) == (
        '{"done": "otp.enrolled", "customer": "c1", "token": "VSMT1", "reference": 7}'
    )
    assert json.dumps(json_shapes.customer_added(Receipt(7, "c1", None))) == (
        '{"done": "customer.added", "customer": "c1", "reference": 7}'
    )
    assert json.dumps(json_shapes.permit("c1", ReissuePermit("ABCD", MOMENT))) == (
        f'{{"done": "otp.reissue-permitted", "customer": "c1", "permit": "ABCD", "expires": "{TOLD}"}}'
    )
    assert json.dumps(json_shapes.issued_token(IssuedToken("VSMT1", "JBSW", "otpauth://x"))) == (
        '{"token_id": "VSMT1", "secret": "JBSW", "uri": "otpauth://x"}'
    )
    assert json.dumps(json_shapes.sessions_ended("c1", 2)) == (
        '{"done": "session.ended", "customer": "c1", "sessions": 2}'
    )
