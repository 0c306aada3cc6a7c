"""The line about a verdict: which there are, what is in them, and what never is."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from otp_core.model import Accept, Attempt, AuditRow, Challenge, Language, Reject, Silence, Verdict
from otp_core.verdict_log import VerdictLog, Wanted
from tests.core.bank import CODE

ROW = AuditRow(7, "login.rejected", "vpn", "taro", "VSMT00000001", "198.51.100.7", "wrong code")
ATTEMPT = Attempt("taro", "hunter2", CODE, "vpn", "192.0.2.1", "198.51.100.7", deadline=5.0)
ACCEPTED, REJECTED = Accept(row=ROW._replace(reason="right code")), Reject("wrong-code", Language.JA, ROW)
ASKED, AGAIN = Challenge(b"state", Language.JA, row=ROW), Challenge(b"state", Language.JA, again=True, row=ROW)


def log(wanted: Wanted = "refused") -> VerdictLog:
    return VerdictLog(wanted, lambda name: f"name:{len(name)}", lambda: 99)


def lines(
    verdict: Verdict, wanted: Wanted = "refused", attempt: Attempt = ATTEMPT, **more: Any
) -> list[dict[str, Any]]:
    with capture_logs() as found:
        log(wanted).write("radius", attempt, verdict, 0.0123456, **more)
    return [dict(line) for line in found]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("all", ["accepted", "challenged", "challenged again", "rejected"]),
        ("refused", ["challenged again", "rejected"]),
        ("none", []),
    ],
)
def test_the_setting_says_which_verdicts_have_a_line(wanted: Wanted, said: list[str]) -> None:
    verdicts: list[Verdict] = [ACCEPTED, ASKED, AGAIN, REJECTED, Silence("the disk is full")]
    assert [line["verdict"] for one in verdicts for line in lines(one, wanted)] == said


def test_a_line_says_who_where_what_why_and_in_which_audit_row() -> None:
    (line,) = lines(REJECTED, nas="ib-gateway")
    assert line == {
        "event": "verdict",
        "log_level": "info",
        "door": "radius",
        "verdict": "rejected",
        "client": "vpn",
        "nas": "ib-gateway",
        "source": "198.51.100.7",
        "customer": "taro",
        "token": "VSMT00000001",
        "reason": "wrong code",
        "round": 1,
        "ms": 12.3,
        "id": 7,
    }


def test_what_is_not_known_is_left_out_and_no_secret_is_in_it() -> None:
    bare = Attempt("my-password", "hunter2", CODE, "vpn", "192.0.2.1", challenge=b"the state")
    (line,) = lines(Reject("no-words", Language.JA), attempt=bare)
    assert (line["source"], line["customer"], line["round"], line["id"]) == ("192.0.2.1", "name:11", 2, 99)
    assert not {"nas", "token"} & set(line)
    for secret in ("my-password", "hunter2", "the state"):
        assert secret not in str(line)


def test_how_a_wrong_code_misses_is_in_the_reason_and_worked_out_only_then() -> None:
    asked: list[int] = []

    def near_miss() -> str:
        asked.append(1)
        return "correct code, 3 steps late"

    late = Reject("wrong-code", Language.JA, ROW, near_miss)
    assert lines(late, "none") == [] and asked == []
    (line,) = lines(late, remark="wrong secret likely")
    assert line["reason"] == "wrong code: correct code, 3 steps late: wrong secret likely"
    (line,) = lines(Challenge(b"", Language.JA, again=True, row=ROW, near_miss=near_miss))
    assert line["reason"] == "wrong code: correct code, 3 steps late"
    (line,) = lines(Reject("wrong-code", Language.JA, ROW, lambda: ""))
    assert line["reason"] == "wrong code"


def test_where_there_is_no_audit_trail_who_is_accepted_is_named_and_nobody_else() -> None:
    (accepted,), (rejected,) = lines(Accept(), "all"), lines(Reject("offline", Language.JA), "all")
    assert (accepted["customer"], rejected["customer"]) == ("taro", "name:4")


@pytest.mark.parametrize(("wanted", "said"), [("all", 2), ("refused", 1), ("none", 0)])
def test_what_pages_decide_has_the_same_words(wanted: Wanted, said: int) -> None:
    with capture_logs() as found:
        for verdict in ("accepted", "rejected"):
            log(wanted).write_row("web", verdict, ROW, 0.5)
    names = ("door", "client", "customer", "reason", "ms", "id")
    assert [[line[name] for name in names] for line in found] == [["web", "vpn", "taro", "wrong code", 500.0, 7]] * said
