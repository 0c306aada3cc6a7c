"""What tests of the desk share: who acts, refusals, a login by a code, the store behind the desk's back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from otp_core.accounts import Principal, PrincipalKind, Refused
from otp_core.login.requests import LoginRequest
from otp_core.login.table import Stage
from otp_core.model import (
    Attempt,
    Conflict,
    Reject,
)
from otp_core.store.sqlite import driver
from tests import postgresql
from tests.core.bank import CODE, Bank, Holder

ME = Principal("taro himself", PrincipalKind.CUSTOMER, "198.51.100.9", "portal", customer="taro")
NEW = "VSMT00000099"


def signed_in(contract_id: str) -> Principal:
    """As ME, for another customer."""
    return replace(ME, customer=contract_id)


def refused(act: Callable[[], object]) -> Refused:
    """Why it was refused. An assertion fails if it was done: what proofs.py counts as a proof."""
    try:
        done = act()
    except Refused as why:
        return why
    raise AssertionError(f"not refused: {done}")


def wrong(*holders: Holder) -> str:
    """A code that none of these shows now."""
    shown = {holder.code(away) for holder in holders for away in range(-3, 4)}
    return next(text for text in map("{:06d}".format, range(900_000, 900_100)) if text not in shown)


def login(bank: Bank, holder: Holder, code: str | None = None, fingerprint: int = 0) -> object:
    """The verdict on a code alone, by the login batch as every door uses it: again, if somebody was faster."""
    text = holder.code() if code is None else code
    case = LoginRequest(
        Attempt(holder.contract_id, text, CODE, "gateway", fingerprint=fingerprint), Stage.CODE, code=text
    )
    login_batch = bank.store.login_batch()

    async def answer() -> object:
        while True:
            try:
                decision = await login_batch.run(
                    [holder.contract_id],
                    [],
                    lambda facts: bank.evaluator.evaluate([case], facts, bank.guarded.now(), bank.store.ids),
                )
            except Conflict:
                continue
            return decision.verdicts[0]

    try:
        return asyncio.run(answer())
    finally:
        login_batch.close()


def reason(verdict: object) -> str:
    assert isinstance(verdict, Reject), verdict
    return verdict.reason


def without_counts(bank: Bank) -> dict[str, Any]:
    """Everything, except how many wrong codes there were and when."""
    record = replace(bank.login_record(), failures=0, failed_at=0, failed_fingerprint=0)
    return {**{name: rows for name, rows in bank.rows().items() if name != "customer"}, "taro": record}


def behind_its_back(bank: Bank, statement: str) -> None:
    """Something done by nobody that the store knows of."""
    if bank.store.database.file is None:
        with postgresql.server().connect(bank.store.database.name) as other:
            other.execute(statement.encode())
        return
    connection = driver.connect(bank.database)
    connection.execute(statement)
    connection.commit()
    connection.close()
