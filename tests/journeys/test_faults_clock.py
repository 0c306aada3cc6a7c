"""A clock set back: silence until it is right or trusted, and no code opens twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otp_core.accounts import Principal, PrincipalKind, Quota
from otp_core.audit import ms_of
from otp_core.store.queries import token_line
from tests.journeys.faults import (
    AUTO,
    CHALLENGING,
    CODE,
    SILENT,
    answers_status,
    ask,
    comes_back,
    running_sekisho,
    sekisho_and_peers,
)
from tests.postgresql import lacks_fsync_alone
from tests.radius_peer import ACCEPT, REJECT, Peers, names
from tests.sekisho import PASSWORD, Sekisho, free_port

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
SET_BACK = "the clock was set back: it stands"
with_faketime = pytest.mark.skipif(not FAKETIME.exists(), reason="Debian's faketime is not installed")


class Hand:
    """The server's clock, moved by hand (libfaketime); monotonic time goes on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hand"
        self.away = 0
        self.move(0)
        self.environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # or each look at a file reads the hand. No rule asks how old a file is
        }

    def move(self, seconds: int) -> None:
        self.away = seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)

    def time(self) -> float:
        return time.time() + self.away


def goes_silent(peers: Peers, seconds: float = 5.0) -> bool:
    """A good answer is remembered for a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not answers_status(peers):
            return True
    return False


def command(sekisho: Sekisho, hand: Hand, *words: str, code: int = 0) -> str:
    """A command on the same machine, and so by the same clock; what it said. It has to end with this exit code."""
    line = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), *words]
    environment = {**os.environ, **hand.environment}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    too_quick = words[0] == "doctor" and done.returncode == 1 and lacks_fsync_alone(done.stdout)
    assert done.returncode == code or (too_quick and code == 0), done
    return done.stdout + done.stderr


@with_faketime
def test_a_clock_set_back_while_it_runs(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    with sekisho_and_peers(tmp_path, environment=hand.environment) as (sekisho, peers):
        customers = sekisho.crowd(8)
        early = customers[0]
        code = early.code()
        assert names([peers.ask(ask(early, code))]) == [ACCEPT]
        hand.move(-300)
        since = len(sekisho.log_text())
        old = [ask(one, one.code(at=hand.time())) for one in customers]
        assert names(peers.ask_all(old, wait=0.4)) == [SILENT] * 8
        sekisho.wait_for_log(SET_BACK, since=since)
        sekisho.wait_for_log("Check the time service", since=since)
        assert sekisho.cpu_share() < 0.5
        assert not answers_status(peers)
        time.sleep(1.1)
        assert not answers_status(peers)
        assert sekisho.log_text()[since:].count("no login can be answered") == 1, "it is told once in ten seconds"
        hand.move(0)
        assert comes_back(peers)
        assert names(peers.ask_all(old)) == [REJECT] * 8
        anew = [ask(one, one.code()) for one in customers[1:]]
        assert names(peers.ask_all(anew)) == [ACCEPT] * 7
        assert names([peers.ask(ask(early, code))]) == [REJECT]


@with_faketime
@pytest.mark.parametrize("source", [CHALLENGING, AUTO])
def test_a_clock_set_back_is_met_with_silence_in_every_mode(tmp_path: Path, source: str) -> None:
    hand = Hand(tmp_path)
    with (
        sekisho_and_peers(tmp_path, environment=hand.environment) as (sekisho, _),
        Peers(sekisho.where, 4, source) as peers,
    ):
        customer = sekisho.customer()
        hand.move(-300)
        user_password = PASSWORD + (customer.code(at=hand.time()) if source == AUTO else "")
        assert peers.ask(ask(customer, user_password), wait=0.5) is None
        sekisho.wait_for_log(SET_BACK)
        hand.move(0)
        assert comes_back(peers)


@with_faketime
def test_a_small_step_back_goes_unnoticed_and_opens_no_code_again(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    wide = "[login]\ncode_window = 2\n"
    with sekisho_and_peers(tmp_path, environment=hand.environment, more=wide) as (sekisho, peers):
        customers = sekisho.crowd(4)
        codes = [one.code() for one in customers]
        assert (
            names(peers.ask_all([ask(one, code) for one, code in zip(customers, codes, strict=True)])) == [ACCEPT] * 4
        )
        hand.move(-20)
        time.sleep(1.1)
        assert comes_back(peers)
        assert (
            names(peers.ask_all([ask(one, code) for one, code in zip(customers, codes, strict=True)])) == [REJECT] * 4
        )
        assert names(peers.ask_all([ask(one, one.code(1)) for one in customers])) == [ACCEPT] * 4


@with_faketime
@pytest.mark.parametrize("workers", [1, 2])
def test_a_clock_set_back_between_two_runs(tmp_path: Path, workers: int) -> None:
    hand = Hand(tmp_path)
    listen = (f"127.0.0.1:{free_port()}",)
    with sekisho_and_peers(tmp_path, environment=hand.environment, workers=workers, listen=listen) as (sekisho, peers):
        customers = sekisho.crowd(4)
        assert names([peers.ask(ask(customers[0], customers[0].code()))]) == [ACCEPT]
        assert sekisho.stop() == 0
        hand.move(-300)
        sekisho.start()
        old = [ask(one, one.code(at=hand.time())) for one in customers]
        assert names(peers.ask_all(old, wait=0.4)) == [SILENT] * 4
        sekisho.wait_for_log(SET_BACK)
        sekisho.wait_for_log("restart with `sekisho serve --trust-clock`")
        assert not answers_status(peers)
        hand.move(0)
        assert comes_back(peers)
        assert names(peers.ask_all([ask(one, one.code(1)) for one in customers])) == [ACCEPT] * 4


@with_faketime
@pytest.mark.parametrize(("workers", "days"), [(1, 15), (2, 15), (1, 400)])
def test_a_clock_set_ahead_while_it_runs_leaves_nothing_behind(tmp_path: Path, workers: int, days: int) -> None:
    """Days ahead for some seconds: silence, what the counter does still works, and then everything is as before."""
    hand = Hand(tmp_path)
    with sekisho_and_peers(tmp_path, environment=hand.environment, workers=workers) as (sekisho, peers):
        customers = sekisho.crowd(4)
        early, lost, *others = customers
        code = early.code()
        assert names([peers.ask(ask(early, code))]) == [ACCEPT]
        hand.move(days * 86_400)
        since = len(sekisho.log_text())
        asked = [ask(one, one.code(at=hand.time())) for one in others]
        assert names(peers.ask_all(asked, wait=0.4)) == [SILENT] * len(others)
        sekisho.wait_for_log(f"the clock was set ahead: it stands {days * 864}", since=since)
        sekisho.wait_for_log("the clock is not believed", since=since)
        assert goes_silent(peers)
        command(sekisho, hand, "report-lost", lost.contract_id)
        hand.move(0)
        assert comes_back(peers)
        sekisho.wait_for_log("the clock is believed again", since=since)
        assert names(peers.ask_all([ask(one, one.code()) for one in others])) == [ACCEPT] * len(others)
        assert names([peers.ask(ask(early, code)), peers.ask(ask(lost, lost.code()))]) == [REJECT] * 2
        newest = max(ms_of(row.id) for row in sekisho.audit())
        assert newest < (time.time() + 60) * 1000, "no row has a time of the future"
        assert sekisho.stop() == 0
        with Peers(sekisho.start().where, 4, CODE) as anew:
            assert names([anew.ask(ask(others[0], others[0].code(1)))]) == [ACCEPT]


@with_faketime
@pytest.mark.parametrize("workers", [1, 2])
def test_the_operator_tells_the_running_server_that_the_clock_is_right(tmp_path: Path, workers: int) -> None:
    hand = Hand(tmp_path)
    with sekisho_and_peers(tmp_path, environment=hand.environment, workers=workers) as (sekisho, peers):
        hand.move(7200)
        assert goes_silent(peers)
        (customer,) = sekisho.crowd(1)
        assert "set ahead: it stands 7200 s" in command(sekisho, hand, "doctor", code=1)
        said = command(sekisho, hand, "trust-clock", "--reason", "looked at the wall")
        assert "the clock is taken to be right" in said
        assert comes_back(peers)
        assert names([peers.ask(ask(customer, customer.code(at=hand.time())))]) == [ACCEPT]
        apart = sekisho.store.database.file is None  # PostgreSQL's clock did not move, and the doctor compares with it
        said = command(sekisho, hand, "doctor", code=int(apart))
        assert "--trust-clock" not in said and ("fail  database clock" in said) is apart
        (row,) = sekisho.audit(event="clock.trusted")
        assert row.reason == "looked at the wall"


@with_faketime
@pytest.mark.parametrize("workers", [1, 2])
def test_a_clock_that_was_wrong_is_trusted_from_then_on(tmp_path: Path, workers: int) -> None:
    """An hour ahead for a while and believed, then right: `--trust-clock` once, and a restart later works without."""
    hand = Hand(tmp_path)
    listen = (f"127.0.0.1:{free_port()}",)
    with sekisho_and_peers(tmp_path, environment=hand.environment, workers=workers, listen=listen) as (sekisho, peers):
        early, *others = sekisho.crowd(6)
        code = early.code()
        assert names([peers.ask(ask(early, code))]) == [ACCEPT]
        assert sekisho.stop() == 0
        hand.move(3600)
        sekisho.start("--trust-clock")
        assert names([peers.ask(ask(others[0], others[0].code(at=hand.time())))]) == [ACCEPT]
        assert sekisho.stop() == 0
        hand.move(0)
        for arguments, customer in (("--trust-clock",), others[1]), ((), others[2]), ((), others[3]):
            sekisho.start(*arguments)
            assert names([peers.ask(ask(customer, customer.code()))]) == [ACCEPT]
            assert names([peers.ask(ask(early, code))]) == [REJECT]
            assert comes_back(peers)
            assert sekisho.stop() == 0
        assert len(sekisho.audit(event="clock.trusted")) == 2


@with_faketime
@pytest.mark.parametrize("by_command", [False, True])
def test_after_a_time_in_the_future_nobody_stays_refused(tmp_path: Path, by_command: bool) -> None:
    """Nine hours ahead, and believed: one logs in, one types a wrong code. Then the clock is right again."""
    hand = Hand(tmp_path)
    listen = (f"127.0.0.1:{free_port()}",)
    waiting = "[throttle]\nfree_failures = 0\n"
    with sekisho_and_peers(tmp_path, environment=hand.environment, listen=listen, more=waiting) as (sekisho, peers):
        right, wrong, bystander = sekisho.crowd(3)
        assert sekisho.stop() == 0
        hand.move(9 * 3600)
        sekisho.start("--trust-clock")
        ahead = right.code(at=hand.time())
        assert names([peers.ask(ask(right, ahead)), peers.ask(ask(wrong, "000000"))]) == [ACCEPT, REJECT]
        assert sekisho.stop() == 0
        hand.move(0)
        assert "--trust-clock" in command(sekisho, hand, "doctor", code=1)
        since = len(sekisho.log_text())
        if by_command:
            sekisho.start()
            assert not answers_status(peers)
            said = command(sekisho, hand, "trust-clock")
            assert f"{right.contract_id}  {right.token_id}  the token's last step stood 9.0 h ahead" in said
            assert f"{wrong.contract_id}  " in said and bystander.contract_id not in said
        else:
            sekisho.start("--trust-clock")
            told = sekisho.wait_for_log("stamps of the future were taken back", since=since)[since:]
            assert right.contract_id in told and wrong.contract_id in told and bystander.contract_id not in told
        assert comes_back(peers)
        assert names(peers.ask_all([ask(one, one.code()) for one in (right, wrong, bystander)])) == [ACCEPT] * 3
        assert "trust-clock" not in command(sekisho, hand, "doctor")
        listed = {row.customer for row in sekisho.audit(event="clock.repaired")}
        assert listed == {right.contract_id, wrong.contract_id}


@pytest.mark.parametrize(("workers", "listen"), [(1, "127.0.0.1:0"), (2, "0.0.0.0:0")])
def test_logins_that_waited_while_the_server_stood_still_are_silence(tmp_path: Path, workers: int, listen: str) -> None:
    """Their gateways have gone elsewhere, and later their codes would count as wrong ones. No restart, no clock."""
    with sekisho_and_peers(tmp_path, workers=workers, listen=(listen,)) as (sekisho, peers):
        customers = sekisho.crowd(6)
        assert sekisho.process is not None
        os.killpg(sekisho.process.pid, signal.SIGSTOP)
        try:
            asked = [ask(one, one.code()) for one in customers]
            assert names(peers.ask_all(asked, wait=4.5)) == [SILENT] * 6
        finally:
            os.killpg(sekisho.process.pid, signal.SIGCONT)
        assert comes_back(peers)
        assert [sekisho.audit(one.contract_id, "login") for one in customers] == [[]] * 6
        assert names(peers.ask_all([ask(one, one.code()) for one in customers])) == [ACCEPT] * 6


@with_faketime
@pytest.mark.parametrize(("days", "monotonic"), [(15, True), (15, False), (400, True), (400, False)])
def test_a_start_days_ahead_retires_nothing(tmp_path: Path, days: int, monotonic: bool) -> None:
    """The sweep runs at the start. Nothing can be compared: the store has no anchor, or all clocks are wrong alike."""
    port = free_port()
    section = f'[soft_token]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
    with running_sekisho(tmp_path, more=section) as sekisho:
        app = Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.7")
        unclaimed = sekisho.desk.issuance.issue_unclaimed(app, Quota(10, 10)).token_id
        sekisho.environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": f"+{days}d",
            "NO_FAKE_STAT": "1",
            "DONT_FAKE_MONOTONIC": "1" if monotonic else "0",
        }
        sekisho.start()
        time.sleep(1)
        assert sekisho.stop() == 0
        with sekisho.store.read() as connection:
            line = token_line(connection, unclaimed)
        assert line is not None and line.state == "available"
