"""How a login is decided: every pair of (stage, finding), written out a second time. What is not here is refused."""

from __future__ import annotations

import pytest

from otp_core.login.table import FINDING_TEXT, LOGIN, Action, Finding, Stage, action_for

# One block an action, so that the question "how does a login succeed?" is answered by the first three blocks.
EXPECTED: dict[Action, set[tuple[Stage, Finding]]] = {
    Action.SPEND_AND_ACCEPT: {
        (Stage.SECOND_ROUND, Finding.FITS),
        (Stage.BOTH, Finding.FITS),
        (Stage.CODE, Finding.FITS),
        (Stage.VERIFIER_ROUND, Finding.FITS),
    },
    Action.ACCEPT_AGAIN: {
        (Stage.SECOND_ROUND, Finding.REPEATED),
        (Stage.BOTH, Finding.REPEATED),
        (Stage.CODE, Finding.REPEATED),
        (Stage.VERIFIER_ROUND, Finding.REPEATED),
    },
    Action.ACCEPT: {
        (Stage.PASSWORD, Finding.WITHOUT_TOKEN),
        (Stage.PASSWORD, Finding.CODE_DUE),
        (Stage.FIRST_ROUND, Finding.WITHOUT_TOKEN),
        (Stage.BOTH, Finding.WITHOUT_TOKEN),
        (Stage.CODE, Finding.WITHOUT_TOKEN),
    },
    Action.ASK: {(Stage.FIRST_ROUND, Finding.CODE_DUE)},
    Action.ASK_FIRST_FACTOR: {
        (Stage.PASSWORD, Finding.FIRST_FACTOR_ASKS),
        (Stage.FIRST_ROUND, Finding.FIRST_FACTOR_ASKS),
        (Stage.BOTH, Finding.FIRST_FACTOR_ASKS),
    },
    Action.ASK_VERIFIER: {
        (Stage.SECOND_ROUND, Finding.VERIFIER_ASKS),
        (Stage.BOTH, Finding.VERIFIER_ASKS),
        (Stage.CODE, Finding.VERIFIER_ASKS),
        (Stage.VERIFIER_ROUND, Finding.VERIFIER_ASKS),
    },
    Action.ASK_AGAIN: {
        (Stage.SECOND_ROUND, Finding.REUSED),
        (Stage.SECOND_ROUND, Finding.NOT_A_CODE),
        (Stage.SECOND_ROUND, Finding.TOO_SOON),
        (Stage.SECOND_ROUND, Finding.RESYNC_NEEDED),
        (Stage.SECOND_ROUND, Finding.NEXT_CODE_THERE),
    },
    Action.COUNT_AND_ASK_AGAIN: {(Stage.SECOND_ROUND, Finding.WRONG)},
    Action.COUNT_AND_REJECT: {
        (Stage.BOTH, Finding.WRONG),
        (Stage.CODE, Finding.WRONG),
        (Stage.VERIFIER_ROUND, Finding.WRONG),
    },
}


@pytest.mark.parametrize("finding", list(Finding))
@pytest.mark.parametrize("stage", list(Stage))
def test_what_follows_is_what_is_written_and_otherwise_a_refusal(stage: Stage, finding: Finding) -> None:
    written = [action for action, pairs in EXPECTED.items() if (stage, finding) in pairs]
    assert [action_for(stage, finding)] == (written or [Action.REJECT])


def test_every_action_of_the_table_is_expected_somewhere() -> None:
    assert set(LOGIN.values()) == set(EXPECTED)
    assert set(Action) == {*EXPECTED, Action.REJECT}


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    "finding",
    [
        Finding.UNKNOWN_CUSTOMER,
        Finding.WRONG_PASSWORD,
        Finding.LOCKED,
        Finding.LOST,
        Finding.TOKEN_NEEDED,
        Finding.NOTHING_CHECKED,
        Finding.CHALLENGE_GONE,
        Finding.REPEATED_FAILURE,
        Finding.TOKEN_LOCKED_THERE,
        Finding.TOKEN_DISABLED_THERE,
        Finding.TOKEN_UNKNOWN_THERE,
        Finding.CUSTOMER_UNKNOWN_THERE,
    ],
)
def test_these_findings_let_nobody_in_at_any_stage(stage: Stage, finding: Finding) -> None:
    assert action_for(stage, finding) is Action.REJECT


def test_only_a_wrong_code_counts() -> None:
    counting = {Action.COUNT_AND_ASK_AGAIN, Action.COUNT_AND_REJECT}
    assert {finding for (_, finding), step in LOGIN.items() if step in counting} == {Finding.WRONG}


def test_nothing_but_a_fresh_code_is_accepted_where_a_code_was_given() -> None:
    """Where the customer has a token, in a round that proves a code: right, or the same request once more."""
    accepting = {Action.ACCEPT, Action.ACCEPT_AGAIN, Action.SPEND_AND_ACCEPT}
    by_code = {(stage, finding) for (stage, finding), step in LOGIN.items() if step in accepting}
    for stage in (Stage.BOTH, Stage.CODE, Stage.SECOND_ROUND):
        findings = {finding for at, finding in by_code if at is stage}
        assert findings - {Finding.WITHOUT_TOKEN} == {Finding.FITS, Finding.REPEATED}


def test_an_answer_to_a_challenge_is_never_accepted_for_want_of_a_token() -> None:
    """Who was suspended between the two rounds begins anew."""
    assert action_for(Stage.SECOND_ROUND, Finding.WITHOUT_TOKEN) is Action.REJECT


def test_each_finding_has_words_of_its_own_for_the_audit_trail() -> None:
    assert FINDING_TEXT.keys() == set(Finding)
    assert all(words.strip() == words != "" for words in FINDING_TEXT.values())
    assert len(set(FINDING_TEXT.values())) == len(Finding)
