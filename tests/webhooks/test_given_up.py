"""What is not taken in its time is given up: counted, and said by the log, `sekisho doctor` and the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from otp_core.audit import Event, ms_of
from otp_core.checks import CheckState
from otp_core.outwards.condition import Condition
from otp_core.outwards.position import FilePosition
from otp_core.store.queries import AuditLine
from otp_core.store.schema import audit, seal
from otp_core.store.trail import SealRow
from sekisho.cli.doctor_outwards import examine_outwards
from sekisho.metrics import families as f
from sekisho.metrics.store_look import StoreLook
from sekisho.outlets import outlets
from sekisho.outwards_process import Sending
from sekisho.settings import Settings, load
from tests.core.bank import Bank

NAME = "webhook:a"


class Refusing:
    """A receiver that takes the first ``takes`` rows of a piece."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.seen: list[int] = []

    async def send(self, rows: Sequence[AuditLine]) -> AsyncIterator[int]:
        for row in rows:
            if self.takes == 0:
                raise ConnectionError("it answered 500")
            self.takes -= 1
            self.seen.append(row.id)
            yield row.id

    async def close(self) -> None:
        pass


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def settings_of(bank: Bank) -> Settings:
    folder = bank.folder
    (folder / "key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    (folder / "key").chmod(0o600)
    file = folder / "sekisho.toml"
    file.write_text(
        f'[store]\nurl = "{bank.url}"\nmaster_key_file = "m"\n[audit]\nseal_key_file = "k"\n'
        '[[webhooks]]\nname = "a"\nurl = "http://localhost/"\nsecret_file = "key"\n'
    )
    file.chmod(0o600)
    return load(file, environment={}).settings


def write_and_seal(bank: Bank, number: int, rows: int) -> None:
    for _ in range(rows):
        with bank.store.work() as work:
            work.audit(Event.CLOCK_TRUSTED, actor="a", reason="r")
    with bank.store.read() as connection:
        before = connection.execute(select(func.max(seal.c.until_id))).scalar() or 0
        count, newest = connection.execute(select(func.count(), func.max(audit.c.id)).where(audit.c.id > before)).one()
    seals = bank.store.seals()
    seals.sealable(before, ms_of(newest) + 10_000, 1)  # as the sealer does first: PostgreSQL lets no row come below it
    assert seals.append(SealRow(number, newest, "{}", b"", b""), number - 1, before, count)


def run(sending: Sending, until: float) -> None:
    """For so many seconds."""

    async def work() -> None:
        task = asyncio.create_task(sending.run(lambda: True))
        await asyncio.sleep(until)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(work())


@pytest.mark.parametrize("patient", [True, False])
def test_what_a_receiver_does_not_take_waits_or_is_given_up(bank: Bank, patient: bool) -> None:
    settings = settings_of(bank)
    (outlet,) = outlets(settings, bank.store)

    def figures() -> dict[tuple[str, ...], float]:
        look = StoreLook(lambda: bank.store, bank.store.database.file, outlets_of=lambda _: [outlet])
        found = asyncio.run(look.figures())
        look.close()
        return {key: value for key, value in found.items() if NAME in key}

    def told() -> list[tuple[CheckState, str]]:
        results = list(examine_outwards(bank.store, settings))
        assert {one.check for one in results} == {NAME}
        return [(one.state, one.text) for one in results]

    assert told()[0][0] is CheckState.WARN and "has not begun" in told()[0][1]
    write_and_seal(bank, 1, 1)
    receiver = Refusing(takes=2)
    give_up_ms = (
        3_600_000 if patient else -(10**12)
    )  # younger than any: all that there is, whatever the bank's clock says
    sending = Sending(outlet, receiver, bank.store, (), give_up_ms=give_up_ms)
    run(sending, 0.2)  # it begins with what comes now
    assert figures()[f.BEHIND_ROWS, NAME] == 0 and told()[0][0] is CheckState.OK
    write_and_seal(bank, 2, 5)
    run(sending, 0.8)
    assert len(receiver.seen) == 2
    condition = outlet.condition.read()
    assert condition.failing_since and condition.cause == "it answered 500"
    found, lines = figures(), told()
    assert found[f.BEHIND_ROWS, NAME] == (3 if patient else 0)
    assert found[f.OUTWARDS_GIVEN_UP, NAME] == condition.given_up == (0 if patient else 3)
    assert lines[0][0] is CheckState.WARN or not patient
    assert "it answered 500" in "".join(text for _, text in lines)
    assert any("3 events were given up" in text for _, text in lines) is not patient
    if patient:
        receiver.takes = 10
        run(sending, 1.5)
        assert len(receiver.seen) == 5 and len(set(receiver.seen)) == 5
        assert outlet.condition.read() == Condition(0, "it answered 500")
        assert figures()[f.OUTWARDS_FAILING, NAME] == 0


@pytest.mark.sqlite_files
@pytest.mark.parametrize("text", ["", "[]", '{"failing_since": "1"}', "[" * 3000, "x" * 5000])
def test_a_condition_that_cannot_be_read_is_that_of_a_new_outlet(bank: Bank, text: str) -> None:
    (outlet,) = outlets(settings_of(bank), bank.store)
    outlet.condition.write(Condition(1, "c" * 1000, 2, 3))
    assert outlet.condition.read() == Condition(1, "c" * 300, 2, 3)
    next(bank.store.file.parent.glob("*.condition")).write_text(text)
    assert outlet.condition.read() == Condition()


@pytest.mark.sqlite_files
def test_a_spoilt_position_fails_the_doctor_and_is_no_figure(bank: Bank) -> None:
    settings = settings_of(bank)
    FilePosition(bank.store.file, "webhook-a").path.write_text("far")
    (result,) = examine_outwards(bank.store, settings)
    assert result.state is CheckState.FAIL and "does not say how far webhook-a has come" in result.text
