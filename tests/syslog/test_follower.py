"""How far the messages have come: pieces that may have been lost come again, and a spoilt position is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from otp_core.audit import Event, ms_of
from otp_core.model import StoreProblem
from otp_core.outwards import follower
from otp_core.outwards.follower import Follower
from otp_core.outwards.position import FilePosition, position_of
from otp_core.settings import ConfigProblems
from otp_core.settings.syslog import SyslogSettings
from otp_core.store.trail import SealRow
from otp_core.syslog.message import Sender
from otp_core.syslog.receiver import SyslogReceiver, connection_of
from sekisho.settings import load
from tests.core.bank import Bank


class Taker:
    """A receiver that may end a connection before or after it has taken a piece."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.breaks = False

    async def send(self, messages: Sequence[bytes]) -> None:
        self.taken += messages
        if self.breaks:
            raise ConnectionError("gone")

    def close(self) -> None:
        pass


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_a_piece_that_may_be_lost_comes_again_and_a_new_process_goes_on_behind_the_last(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "AT_ONCE", 2)
    taker, position = Taker(), position_of(bank.store, "syslog")

    def made() -> Follower:
        receiver = SyslogReceiver(taker, Sender(10, "here", 1))
        return Follower(bank.store.read, position, receiver, ("terms.", "clock."), lambda: 10**13 // 3)

    def write(reason: str, event: Event = Event.CLOCK_TRUSTED) -> None:
        with bank.store.work() as work:
            work.audit(event, actor="a", reason=reason)

    def seal(number: int) -> None:
        with bank.store.read() as connection:
            (newest,) = connection.exec_driver_sql("SELECT max(id) FROM audit").one()
            (before,) = connection.exec_driver_sql("SELECT coalesce(max(until_id), 0) FROM seal").one()
            (rows,) = connection.execute(
                text("SELECT count(*) FROM audit WHERE id > :before"), {"before": before}
            ).one()
        seals = bank.store.seals()
        seals.sealable(before, ms_of(newest) + 10_000, 1)  # as the sealer does first
        assert seals.append(SealRow(number, newest, "{}", b"", b""), number - 1, before, rows)

    write("before")
    seal(1)
    write("not sealed yet when syslog began")
    assert not asyncio.run(made().step())
    for reason in ("one", "two", "three"):
        write(reason)
    write("passed over", Event.STORE_BACKED_UP)
    one = made()
    assert not asyncio.run(one.step()) and not taker.taken  # not sealed yet
    seal(2)
    taker.breaks = True
    with pytest.raises(ConnectionError):
        asyncio.run(one.step())
    taker.breaks = False
    assert asyncio.run(one.step())
    assert asyncio.run(made().step()) and not asyncio.run(made().step())
    assert [text.rpartition(b" ")[2] for text in taker.taken] == [b"one", b"two", b"one", b"two", b"three"]


def test_a_position_that_cannot_be_understood_is_told_and_kept(tmp_path: Path) -> None:
    position = FilePosition(tmp_path / "s.db", "syslog")
    assert position.read() is None
    position.write(-5)
    assert position.read() == -5
    position.path.write_text("sekisho syslog 1\nfar\n")
    with pytest.raises(StoreProblem, match=r"s\.db-syslog does not say how far"):
        position.read()


def test_a_receiver_that_takes_nothing_is_given_up_in_time() -> None:
    async def talk(port: int) -> None:
        one = connection_of(SyslogSettings(address=f"127.0.0.1:{port}", transport="tcp", timeout=0.5))
        with pytest.raises(TimeoutError):
            await one.send([b"x" * 8000] * 2000)
        one.close()
        await asyncio.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel connects, and nobody reads
        asyncio.run(talk(server.getsockname()[1]))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('address = "a.example.jp:6514"', r"needs \[audit\]"),
        ('address = "a.example.jp"', "is not a host and port"),
        ('address = "a.example.jp:1"\ntransport = "unix"', "has to be the path of a socket"),
        ('address = "a.example.jp:1"\ntransport = "tcp"\nca_file = "sekisho.toml"', "ca_file is for transport"),
        ('address = "a.example.jp:1"\nevents = ["logon."]', "begins no event"),
        ('address = "a.example.jp:1"\nfacility = "kern"', "facility"),
    ],
)
def test_what_is_wrong_in_the_section_is_said(tmp_path: Path, lines: str, problem: str) -> None:
    file = tmp_path / "sekisho.toml"
    file.write_text(f'[store]\nurl = "sqlite:////x/s.db"\nmaster_key_file = "m"\n[syslog]\n{lines}\n')
    with pytest.raises(ConfigProblems, match=problem):
        load(file, environment={})
