"""What a process counts of its logins: bounded words, plain numbers."""

from __future__ import annotations

from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import Accept, AuditRow, Challenge, Language, Reject, Silence
from otp_core.tally import MOST, OTHER_CLIENTS, Histogram, Tally


def row(finding: Finding) -> AuditRow:
    return AuditRow(1, "login", "gateway", "taro", "VSMT00000001", "192.0.2.1", FINDING_TEXT[finding])


def test_every_verdict_has_a_code_and_nothing_of_the_customer() -> None:
    tally = Tally()
    for verdict in (
        Accept(row=row(Finding.FITS)),
        Accept(row=row(Finding.WITHOUT_TOKEN)),
        Accept(),
        Challenge(b"state", Language.JA, row=row(Finding.CODE_DUE)),
        Reject(Finding.WRONG.value, Language.JA, row(Finding.WRONG)),
        Reject("CHAP-Password of taro", Language.JA),
        Silence("the verifier 'vip' of token VSMT00000001 is not configured"),
        Silence("line", busy=True),
    ):
        tally.verdict("radius", "gateway", verdict, 0.1)
    assert {key[2:] for key in tally.verdicts} == {
        ("accepted", "right-code"),
        ("accepted", "without-token"),
        ("accepted", "other"),
        ("challenged", "code-due"),
        ("rejected", "wrong-code"),
        ("rejected", "not-an-attempt"),
        ("silent", "no-answer"),
        ("silent", "busy"),
    }
    assert sum(tally.seconds["radius"].counts) == 6  # nobody was told anything of the other two


def test_clients_beyond_the_bound_are_counted_together() -> None:
    tally = Tally()
    for number in range(3 * MOST):
        tally.words("web", f"client{number}", "rejected", "wrong code", 0.0)
    assert len(tally.verdicts) == MOST + 1
    assert tally.verdicts["web", OTHER_CLIENTS, "rejected", "wrong-code"] == 2 * MOST
    assert sum(tally.verdicts.values()) == 3 * MOST


def test_a_bound_belongs_to_its_own_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.1):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 7.1
