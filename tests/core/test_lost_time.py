"""After a restore nothing that may have been used in the lost time is good again, and everything else is."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from otp_core.accounts import Principal, PrincipalKind, Refusal
from otp_core.accounts.issuance import Quota
from otp_core.login.policy import Rules
from otp_core.login.table import Finding
from otp_core.model import Accept, Kind, OtpUse, TokenSpec, TokenState
from otp_core.otp import step_at
from otp_core.store.lost_time import Voided, count_tokens, void_codes_of_lost_time
from otp_core.store.sqlite import driver
from tests.core.at_the_desk import login, reason, refused
from tests.core.bank import STAFF, Bank, rules
from tests.core.test_self_service import WEB, begun

HOTP = TokenSpec(Kind.HOTP)
WEB_OF_JIRO = replace(WEB, customer="jiro")
APP = Principal("soft token", PrincipalKind.ANONYMOUS, "192.0.2.3")
QUOTA = Quota(5, 5)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def void(bank: Bank, **more: Any) -> Voided:
    with bank.store.work() as work:
        now = int(bank.clock.now * 1000)
        return void_codes_of_lost_time(
            work, now, window=bank.rules.window, **{"actor": "sekisho restore", "reason": "test", **more}
        )


def as_of_now(bank: Bank) -> Path:
    """A copy of the store, to be put back later."""
    copy = bank.folder / "copy.db"
    with closing(driver.connect(bank.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    return copy


def put_back(bank: Bank, copy: Path, **more: Any) -> Voided:
    for file in bank.folder.glob("bank.db*"):
        file.unlink()
    shutil.copy(copy, bank.database)
    return void(bank, **more)


@pytest.mark.parametrize("period", [10, 30, 60, 300])
@pytest.mark.parametrize("drift", [-3, 0, 5])
@pytest.mark.parametrize("window", [0, 1, 3])
def test_no_code_up_to_now_is_good_and_the_next_one_is(tmp_path: Path, period: int, drift: int, window: int) -> None:
    bank = Bank(tmp_path, rules=rules(window=window))
    taro = bank.customer(spec=TokenSpec(period=period))
    with bank.store.work() as work:
        record = work.token(taro.token_id)
        assert record is not None and work.spend_step(record.key, taro.step(drift) - 40, drift, 1)
    void(bank)
    now = taro.step()
    for away in range(drift - window - 2, drift + window + 1):
        assert login(bank, taro, taro.code(away)) != Accept(), away
    bank.clock.now += period * (2 * window + 1)
    assert taro.step() == now + 2 * window + 1
    for away in range(-window, window + 1):  # whatever is accepted by now was shown since
        assert login(bank, taro, taro.code(drift + away)) == Accept(), away


def test_a_code_that_was_used_in_the_lost_time_is_refused_as_used(bank: Bank) -> None:
    taro, copy = bank.customer(), as_of_now(bank)
    bank.clock.now += 3600
    assert login(bank, taro) == Accept()
    put_back(bank, copy)
    assert reason(login(bank, taro)) == Finding.REUSED
    assert bank.login_record().failures == 0, "nobody guessed"


def test_a_login_of_before_the_copy_is_not_answered_again(bank: Bank) -> None:
    """In the lost time another may have taken its place, and a retransmission of the older one is refused then."""
    taro = bank.customer()
    assert login(bank, taro, fingerprint=7) == Accept()
    assert login(bank, taro, fingerprint=7) == Accept()
    void(bank)
    assert reason(login(bank, taro, fingerprint=7)) == Finding.REUSED


@pytest.mark.sqlite_files
def test_300_codes_of_a_counter_that_were_used_in_the_lost_time(bank: Bank) -> None:
    taro, copy = bank.customer(spec=HOTP), as_of_now(bank)
    for counter in range(300):
        assert login(bank, taro, taro.code(counter)) == Accept()
    put_back(bank, copy)
    for counter in range(300):
        assert reason(login(bank, taro, taro.code(counter))) == Finding.RESYNC_NEEDED
    assert reason(login(bank, taro, taro.code(301))) == Finding.RESYNC_NEEDED, "a single fresh one proves nothing yet"
    assert bank.login_record().failures == 0 and bank.login_record().locked_at is None
    bank.desk.enrolment.resynchronise("taro", taro.code(300), taro.code(301), STAFF)
    assert login(bank, taro, taro.code(301)) != Accept()
    assert login(bank, taro, taro.code(302)) == Accept()
    assert bank.token_line().drift == 0


@pytest.mark.parametrize("reserve", [0, 20, 350])
def test_two_codes_within_the_reserve_resynchronise_no_counter(bank: Bank, reserve: int) -> None:
    taro = bank.customer(spec=HOTP)
    assert login(bank, taro, taro.code(9)) == Accept()
    void(bank, counter_reserve=reserve)
    for first in (9, 10 + reserve - 1) if reserve else (9,):
        codes = taro.code(first), taro.code(first + 1)
        act = refused(partial(bank.desk.enrolment.resynchronise, "taro", *codes, STAFF))
        assert act.refusal is Refusal.WRONG_CODE
    bank.desk.enrolment.resynchronise("taro", taro.code(10 + reserve), taro.code(11 + reserve), STAFF)
    assert login(bank, taro, taro.code(12 + reserve)) == Accept()


def test_a_counter_token_that_was_free_is_enrolled_by_no_single_code(bank: Bank) -> None:
    """Somebody may have enrolled it in the lost time, and used it."""
    bank.customer("taro", None)
    token = bank.token(spec=HOTP)
    void(bank)
    for counter in (0, 21, 25):
        act = refused(partial(bank.desk.enrolment.enrol, "taro", token.token_id, token.code(counter), STAFF))
        assert act.refusal is Refusal.TOKEN_OR_CODE
    assert bank.login_record().failures == 0


def test_staff_resynchronises_a_free_counter_token_and_then_it_is_enrolled(bank: Bank) -> None:
    bank.customer("taro", None)
    token = bank.token(spec=HOTP)
    void(bank)
    resynchronise = bank.desk.enrolment.resynchronise_free
    for first, second, refusal in (
        (0, 1, Refusal.WRONG_CODE),
        (19, 20, Refusal.WRONG_CODE),
        (30, 32, Refusal.WRONG_CODE),
        ("", "1", Refusal.NOT_A_CODE),
    ):
        one, other = (code if isinstance(code, str) else token.code(code) for code in (first, second))
        assert refused(partial(resynchronise, token.token_id, one, other, STAFF)).refusal is refusal
    receipt = resynchronise("vsmt 0000-0001", token.code(30), token.code(31), STAFF)
    assert (receipt.customer, receipt.token) == (None, token.token_id)
    for counter in (30, 31):
        act = refused(partial(bank.desk.enrolment.enrol, "taro", token.token_id, token.code(counter), STAFF))
        assert act.refusal is Refusal.TOKEN_OR_CODE
    bank.desk.enrolment.enrol("taro", token.token_id, token.code(32), STAFF)
    act = refused(partial(resynchronise, token.token_id, token.code(40), token.code(41), STAFF))
    assert act.refusal is Refusal.NOT_NOW and "sekisho resync" in str(act)
    assert refused(partial(resynchronise, "NONE", "1", "2", STAFF)).refusal is Refusal.UNKNOWN_TOKEN


def test_suspending_with_a_counter_tokens_single_code_says_what_to_do(bank: Bank) -> None:
    taro = bank.customer(spec=HOTP)
    void(bank)
    act = refused(lambda: bank.desk.enrolment.suspend("taro", taro.code(0), STAFF))
    assert act.refusal is Refusal.RESYNC_NEEDED and "two codes" in str(act)
    assert bank.login_record().failures == 0


@pytest.mark.sqlite_files
def test_what_pages_and_staff_had_begun_is_void(bank: Bank) -> None:
    bank.customer("jiro", "VSMT00000002")
    session = begun(bank, "jiro")
    issued = bank.desk.enrolment.issue_for("jiro", session, "Bank", WEB_OF_JIRO)
    lost = bank.in_state(OtpUse.REISSUE_PERMITTED)
    unclaimed = bank.desk.issuance.issue_unclaimed(APP, QUOTA)
    with closing(driver.connect(bank.database, isolation_level=None)) as store:
        store.execute("INSERT INTO challenge VALUES (x'01', 1, 'gateway', 1, 1, NULL, NULL, NULL)")
    voided = void(bank)
    assert voided == Voided(timed=4, counters=0, challenges=1, sessions=1, permits=1, unclaimed=2)
    rows = bank.rows()
    assert (
        rows["challenge"] == rows["session"] == rows["permit"] == rows["reservation"] == rows["unclaimed_token"] == []
    )
    for token_id in (issued.token_id, unclaimed.token_id):
        assert bank.token_line(token_id).state == TokenState.RETIRED
        assert [row.reason for row in bank.audit(token=token_id, event="token.retired")] == ["test"]
    assert bank.login_record(lost.contract_id).otp_use == OtpUse.LOST
    assert [row.customer for row in bank.audit(event="otp.permit-voided")] == [lost.contract_id]
    new = bank.token("VSMT00000077")
    act = refused(lambda: bank.desk.enrolment.change_by_permit("taro", bank.permit, new.token_id, new.code(), STAFF))
    assert act.refusal is Refusal.NOT_NOW
    (row,) = bank.audit(event="store.lost-time-voided")
    assert row.actor == "sekisho restore" and row.reason == f"test: {voided.text}"
    assert "4 tokens by the clock" in voided.text and "1 reissue permits" in voided.text


@pytest.mark.sqlite_files
def test_tokens_that_are_over_or_verified_elsewhere_are_left_alone(bank: Bank) -> None:
    bank.token("VSMT00000001")
    bank.desk.tokens.retire("VSMT00000001", STAFF)
    bank.token("VSMT00000002")
    with closing(driver.connect(bank.database, isolation_level=None)) as store:
        store.execute("UPDATE token SET verifier = 'vip', seed = NULL WHERE token_id = 'VSMT00000002'")
    before = bank.rows()["token"]
    assert void(bank).timed == 0
    assert bank.rows()["token"] == before


def test_a_later_step_stays_and_a_second_time_changes_nothing(bank: Bank) -> None:
    taro = bank.customer()
    with bank.store.work() as work:
        record = work.token(taro.token_id)
        assert record is not None and work.spend_step(record.key, taro.step(100), 0, 1)
    void(bank)
    assert bank.token_line().last_step == taro.step(100)
    before = bank.rows()
    void(bank)
    assert bank.rows() == before


def test_nothing_is_left_of_it_if_the_transaction_fails(bank: Bank) -> None:
    bank.customer()
    before = bank.rows()
    with pytest.raises(ZeroDivisionError):
        void(bank, advance=lambda done: 1 // 0)
    assert bank.rows() == before and bank.audit(event="store.lost-time-voided") == []


@pytest.mark.sqlite_files
def test_the_progress_ends_at_the_number_of_tokens(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with closing(driver.connect(bank.database, isolation_level=None)) as store:
        store.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 45000) "
            "INSERT INTO token "
            "(key, token_id, seed, verifier, kind, algorithm, digits, period, state, last_step, last_fingerprint) "
            "SELECT i, 'T' || i, x'00', 'local', 'totp', 'sha1', 6, 30, 'bound', -1, 9 FROM n"
        )
    told: list[int] = []
    assert void(bank, advance=told.append).timed == 45000
    with bank.store.read() as connection:
        assert told == [20000, 40000, count_tokens(connection)]
    with closing(driver.connect(bank.database)) as store:
        expected = step_at(int(bank.clock.now * 1000), 30) + Rules().window
        assert store.execute("SELECT DISTINCT last_step, last_fingerprint FROM token").fetchall() == [(expected, 0)]
