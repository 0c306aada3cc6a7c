"""A second, tiny database engine: values in a dict, optimistic, several batches under way. It proves the seam.

Like a serialisable database it lets batches run beside one another, and raises Conflict for the one that was too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from otp_core.login.requests import Decision, Facts
from otp_core.model import AuditRow, Conflict, LoginRecord, LoginToken, OpenChallenge, StoreUnavailable
from tests.core.batches import copy_of


@dataclass
class MemoryEngine:
    """``unavailable``: it cannot be used now. ``conflicts`` counts the batches that came too late."""

    records: dict[str, LoginRecord] = field(default_factory=dict)
    challenges: dict[bytes, OpenChallenge] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    unavailable: bool = False
    conflicts: int = 0
    under_way: int = 0
    most_under_way: int = 0
    concurrency: int = 3

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            facts = Facts(
                {one: copy_of(self.records[one]) for one in customers if one in self.records},
                {state: self.challenges[state] for state in states if state in self.challenges},
            )
            await asyncio.sleep(0.001)  # the network to the database: other batches run meanwhile
            decision = evaluate(facts)
            await asyncio.sleep(0.001)
            if self.unavailable:
                raise StoreUnavailable("the database is away")
            if not self._holds(decision):
                self.conflicts += 1
                raise Conflict("somebody else was faster")
            self._apply(decision)
            return decision
        finally:
            self.under_way -= 1

    def close(self) -> None:
        pass

    def _tokens(self) -> dict[int, LoginToken]:
        return {token.key: token for one in self.records.values() for token in one.tokens}

    def _holds(self, decision: Decision) -> bool:
        by_token = self._tokens()
        by_customer = {one.customer_key: one for one in self.records.values()}
        return (
            all(state in self.challenges for state in decision.challenges_consumed)
            and all(by_token[one.token_key].last_fingerprint == one.fingerprint for one in decision.retransmissions)
            and all(by_token[one.token_key].last_step == one.before for one in decision.step_updates)
            and all(
                (by_customer[key].failures, by_customer[key].failed_at) == (one.failures_before, one.failed_at_before)
                for key, one in decision.failure_updates.items()
            )
        )

    def _apply(self, decision: Decision) -> None:
        for state in decision.challenges_consumed:
            del self.challenges[state]
        by_token = self._tokens()
        for step in decision.step_updates:
            token = by_token[step.token_key]
            token.last_step, token.drift = step.step, step.drift
            token.last_fingerprint, token.last_at = step.fingerprint, step.at
        for key, count in decision.failure_updates.items():
            for record in self.records.values():
                if record.customer_key == key:
                    record.failures, record.failed_at = count.failures, count.failed_at
                    record.failed_fingerprint, record.locked_at = count.fingerprint, count.locked_at
        self.challenges |= {one.state: one for one in decision.challenges_created}
        self.audit += decision.audit
