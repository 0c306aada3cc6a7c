"""What no sequence of attempts may do, whatever is tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.login.requests import LoginRequest
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import Accept, Challenge, Reject, Verdict
from tests.core.evaluator_harness import SEALER, WRONG, WRONG_PASSWORD, both, code, code_of, first, make_harness, second
from tests.examples import examples

Move = tuple[str, str, int | str, int, str, int]
moves: st.SearchStrategy[list[Move]] = st.lists(
    st.tuples(
        st.sampled_from(["code", "code", "both", "both, wrong password", "first", "second", "second", "old second"]),
        st.sampled_from(["taro", "jiro", "saburo", "jiro", "saburo", "nobody"]),
        st.sampled_from([0, 0, 0, 1, 1, -1, 2, -3, "wrong", "wrong", "nothing"]),  # which code
        st.integers(0, 3),  # the fingerprint
        st.sampled_from(["gateway", "gateway", "gateway", "another"]),
        st.sampled_from([0, 0, 0, 0, 0, 1_000, 30_000, 61_000]),  # milliseconds later
    ),
    min_size=2,
    max_size=30,
)


class Play:
    """A harness in which taro has a token, and jiro and saburo share one."""

    def __init__(self) -> None:
        self.harness = make_harness(lock_after=4, challenge_tries=2, one_customer_per_token=False)
        self.harness.customer("jiro", 2)
        self.harness.customer("saburo", 2)
        self.states: list[bytes] = [b"never given out"]

    def request(self, kind: str, who: str, which: int | str, fingerprint: int, client: str) -> LoginRequest:
        token_id = "VSMT00000001" if who == "taro" else "VSMT00000002"
        user_password = (
            {"wrong": WRONG, "nothing": ""}[which]
            if isinstance(which, str)
            else code_of(token_id, which, now=self.harness.now)
        )
        # Like a door's: the same request has the same text, so its fingerprint is made of it.
        text = f"{fingerprint} {who} {kind} {user_password} {client}"
        more: dict[str, Any] = {
            "client": client,
            "fingerprint": SEALER.fingerprint(text.encode()) if fingerprint else 0,
        }
        match kind:
            case "code":
                return code(user_password, who, **more)
            case "both":
                return both(user_password, who, **more)
            case "both, wrong password":
                return both(user_password, who, first=WRONG_PASSWORD, **more)
            case "first":
                return first(who, **more)
            case "second":
                return second(self.states[-1], user_password, who, **more)
            case _:
                return second(self.states[len(self.states) // 2], user_password, who, **more)

    def run_batch(self, *requests: LoginRequest) -> list[Verdict]:
        verdicts = self.harness.run_batch(*requests)
        self.states += [verdict.state for verdict in verdicts if isinstance(verdict, Challenge)]
        return verdicts


@settings(max_examples=examples(300), deadline=None)
@given(moves)
def test_whatever_is_tried_the_rules_hold(moves: list[Move]) -> None:
    play = Play()
    harness = play.harness
    accepted_by_code: Counter[tuple[int, int]] = Counter()
    spent_by: dict[int, tuple[str, int]] = {}
    for kind, who, which, fingerprint, client, later in moves:
        harness.now += later
        request = play.request(kind, who, which, fingerprint, client)
        before, rows, spent = dict(harness.customers), len(harness.audit), len(harness.spent)
        (verdict,) = play.run_batch(request)
        fingerprint = request.attempt.fingerprint

        new_rows = harness.audit[rows:]
        assert [row.event for row in new_rows if row.event.startswith("login.")] == [
            {Accept: "login.accepted", Challenge: "login.challenged", Reject: "login.rejected"}[type(verdict)]
            if not (isinstance(verdict, Accept) and len(harness.spent) == spent)
            else "login.repeated"
        ]
        named = who if who in harness.customers else SEALER.name_fingerprint(who)
        assert all(row.customer == named for row in new_rows)

        if isinstance(verdict, Accept):
            assert kind in ("code", "both", "second", "old second")
            assert before[who].locked_at is None
            if len(harness.spent) > spent:
                accepted_by_code[harness.spent[-1]] += 1
                spent_by[fingerprint] = (who, harness.now)
            else:
                assert fingerprint != 0
                by, at = spent_by[fingerprint]
                assert by == who and at > harness.now - 60_000

        for contract_id, record in harness.customers.items():
            was = before[contract_id]
            assert record.tokens[0].last_step >= was.tokens[0].last_step
            if contract_id != who:
                assert record.failures == was.failures
            elif len(harness.spent) > spent:
                assert record.failures == 0
            else:
                wrong = [row for row in new_rows if row.reason == FINDING_TEXT[Finding.WRONG]]
                assert record.failures == was.failures + len(wrong)
            assert (record.locked_at is not None) == (record.failures >= 4)

    assert all(count == 1 for count in accepted_by_code.values())
    assert [row.id for row in harness.audit] == sorted({row.id for row in harness.audit})


@settings(max_examples=examples(300), deadline=None)
@given(moves)
def test_a_batch_is_decided_like_its_requests_one_after_the_other(moves: list[Move]) -> None:
    alone, together = Play(), Play()
    for batch in batches(moves):
        alone.harness.now += batch[0][5]
        together.harness.now += batch[0][5]
        requests = [together.request(*move[:5]) for move in batch]
        assert together.run_batch(*requests) == [
            verdict for request in requests for verdict in alone.run_batch(request)
        ]
        assert [row[1:] for row in together.harness.audit] == [row[1:] for row in alone.harness.audit]
        assert together.harness.challenges == alone.harness.challenges
        for who, record in together.harness.customers.items():
            other = alone.harness.customers[who]
            assert replace(record, tokens=[]) == replace(other, tokens=[])
            assert [replace(one, seed=b"") for one in record.tokens] == [replace(one, seed=b"") for one in other.tokens]


def batches(moves: list[Move]) -> list[list[Move]]:
    """A new batch begins whenever time has passed."""
    found: list[list[Move]] = []
    for move in moves:
        if move[5] or not found:
            found.append([])
        found[-1].append(move)
    return found
