"""What staff is told to do about a login that was not accepted: for each finding, by the customer's state."""

from __future__ import annotations

import pytest

from otp_core.login.next_step import FINDING_OF_TEXT, NEXT_STEP_TEXT, NextStep, next_steps
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import OtpUse

TOLD = {
    Finding.UNKNOWN_CUSTOMER: [NextStep.CHECK_NAME],
    Finding.WRONG_PASSWORD: [NextStep.CHECK_PASSWORD],
    Finding.CHALLENGE_GONE: [NextStep.BEGIN_AGAIN],
    Finding.WITHOUT_TOKEN: [NextStep.BEGIN_AGAIN],
    Finding.LOCKED: [NextStep.UNLOCK],
    Finding.CODE_DUE: [NextStep.GIVE_CODE],
    Finding.NOT_A_CODE: [NextStep.GIVE_CODE],
    Finding.TOO_SOON: [NextStep.WAIT],
    Finding.REUSED: [NextStep.NEXT_CODE],
    Finding.REPEATED_FAILURE: [NextStep.NEXT_CODE],
    Finding.WRONG: [NextStep.CHECK_TOKEN, NextStep.RESYNC],
    Finding.RESYNC_NEEDED: [NextStep.RESYNC],
    Finding.VERIFIER_ASKS: [NextStep.BEGIN_AGAIN],
    Finding.NEXT_CODE_THERE: [NextStep.NEXT_CODE],
    Finding.TOKEN_LOCKED_THERE: [NextStep.CHECK_VERIFIER],
    Finding.TOKEN_DISABLED_THERE: [NextStep.CHECK_VERIFIER],
    Finding.TOKEN_UNKNOWN_THERE: [NextStep.CHECK_VERIFIER],
    Finding.CUSTOMER_UNKNOWN_THERE: [NextStep.CHECK_VERIFIER],
    Finding.REPEATED: [],
    Finding.FITS: [],
    Finding.FIRST_FACTOR_ASKS: [],
    Finding.VERIFIER_NEEDED: [],
    Finding.PASSWORD_EXPIRED: [NextStep.CHANGE_PASSWORD],
    Finding.PASSWORD_MUST_CHANGE: [NextStep.CHANGE_PASSWORD],
    Finding.ACCOUNT_DISABLED: [NextStep.CHECK_ACCOUNT],
    Finding.ACCOUNT_EXPIRED: [NextStep.CHECK_ACCOUNT],
    Finding.ACCOUNT_LOCKED_THERE: [NextStep.CHECK_ACCOUNT],
    Finding.NOT_PERMITTED_THERE: [NextStep.CHECK_ACCOUNT],
    Finding.QUESTION_REFUSED: [NextStep.CHECK_ACCOUNT],
}
"""Whatever the customer's use of one-time passwords."""

BY_USE = {
    Finding.LOST: {
        OtpUse.ACTIVE: [NextStep.REPORT_LOST],
        OtpUse.LOST: [NextStep.PERMIT_REISSUE],
        OtpUse.REISSUE_PERMITTED: [NextStep.USE_PERMIT, NextStep.PERMIT_REISSUE],
        OtpUse.NONE: [NextStep.ENROL],
        OtpUse.SUSPENDED: [NextStep.RESUME],
    },
    Finding.TOKEN_NEEDED: {
        OtpUse.ACTIVE: [],
        OtpUse.LOST: [NextStep.PERMIT_REISSUE],
        OtpUse.REISSUE_PERMITTED: [NextStep.USE_PERMIT, NextStep.PERMIT_REISSUE],
        OtpUse.NONE: [NextStep.ENROL],
        OtpUse.SUSPENDED: [NextStep.RESUME],
    },
    Finding.NOTHING_CHECKED: {
        OtpUse.ACTIVE: [NextStep.HOLD_PASSWORD],
        OtpUse.LOST: [NextStep.HOLD_PASSWORD, NextStep.PERMIT_REISSUE],
        OtpUse.REISSUE_PERMITTED: [NextStep.HOLD_PASSWORD, NextStep.USE_PERMIT, NextStep.PERMIT_REISSUE],
        OtpUse.NONE: [NextStep.HOLD_PASSWORD, NextStep.ENROL],
        OtpUse.SUSPENDED: [NextStep.HOLD_PASSWORD, NextStep.RESUME],
    },
}


@pytest.mark.parametrize("use", list(OtpUse))
@pytest.mark.parametrize("finding", list(Finding))
def test_each_finding_leads_to_what_is_written_here(finding: Finding, use: OtpUse) -> None:
    expected = TOLD[finding] if finding in TOLD else BY_USE[finding][use]
    assert list(next_steps(finding, use)) == expected


@pytest.mark.parametrize("finding", list(Finding))
def test_a_customer_who_is_not_known_is_nobody_to_act_on(finding: Finding) -> None:
    if finding not in TOLD:
        expected = [NextStep.HOLD_PASSWORD] if finding is Finding.NOTHING_CHECKED else []
        assert list(next_steps(finding, None)) == expected


@pytest.mark.parametrize("finding", list(Finding))
def test_a_right_code_at_the_wrong_time_is_no_question_of_another_token(finding: Finding) -> None:
    usual = next_steps(finding, OtpUse.ACTIVE)
    near = (NextStep.RESYNC,) if finding is Finding.WRONG else usual
    assert next_steps(finding, OtpUse.ACTIVE, near=True) == near


@pytest.mark.parametrize("finding", list(Finding))
def test_whoever_is_locked_is_unlocked_first(finding: Finding) -> None:
    usual = next_steps(finding, OtpUse.ACTIVE)
    expected = usual if finding is Finding.LOCKED else (NextStep.UNLOCK, *usual)
    assert next_steps(finding, OtpUse.ACTIVE, locked=True) == expected


def test_each_step_has_a_sentence_of_its_own() -> None:
    assert NEXT_STEP_TEXT.keys() == set(NextStep)
    assert len(set(NEXT_STEP_TEXT.values())) == len(NextStep)
    assert all(text.endswith(".") for text in NEXT_STEP_TEXT.values())


def test_the_audit_trails_words_lead_back_to_their_finding() -> None:
    assert {FINDING_OF_TEXT[FINDING_TEXT[finding]]: finding for finding in Finding} == {one: one for one in Finding}
