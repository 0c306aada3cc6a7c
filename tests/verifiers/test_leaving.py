"""Leaving VIP: customers change from its tokens to ours, and from a day on each login asks them to."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pyotp
import pytest

from otp_core.first_factor.hashes import hash_password
from otp_core.model import TokenSpec
from otp_core.store.unit_of_work import NewCustomer
from sekisho.verifiers import act_with_verifiers
from sekisho.wiring import cost_of
from tests.journeys.command_line import run
from tests.radius.tools import heard, radclient, received
from tests.sekisho import PASSWORD, STAFF, Sekisho, running
from tests.verifiers.vip_stub import UNFINISHED_TLS, Credential, Running, running_vip

pytestmark = UNFINISHED_TLS
_DAY = datetime.now().astimezone().date()
TOMORROW, TODAY = _DAY + timedelta(days=1), _DAY


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


def bound(sekisho: Sekisho, vip: Running, contract_id: str, credential_id: str) -> Credential:
    """A customer whose token is VIP's."""
    app = vip.vip.credential(credential_id)
    sekisho.desk.tokens.import_elsewhere([credential_id], "vip", STAFF)
    with sekisho.store.work() as work:
        record = work.token(credential_id)
    assert record is not None
    hash_ = hash_password(PASSWORD.encode(), cost_of(sekisho.settings))
    sekisho.desk.customers.import_rows([NewCustomer(contract_id, hash_, token_key=record.key)], [credential_id], STAFF)
    vip.vip.users[contract_id] = {credential_id}
    return app


def ask(sekisho: Sekisho, contract_id: str, text: str) -> str:
    return radclient(sekisho.port, f'User-Name="{contract_id}",User-Password="{text}"')


def progress(sekisho: Sekisho, *more: str) -> dict[str, object]:
    done = run(["--config", str(sekisho.config), "verifier", "progress", "vip", "--weeks", "2", "--json", *more])
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("day", "asked"), [(TODAY, True), (TOMORROW, False)])
def test_from_the_day_on_a_login_goes_on_and_asks_to_change(
    vip: Running, tmp_path: Path, day: date, asked: bool
) -> None:
    with running(tmp_path, "append", more=vip.section(leave_by=str(day), timeout="1.5")) as one:
        app, ours = bound(one, vip, f"taro-{asked}", f"VSMT8100000{int(asked)}"), one.customer()
        printed = ask(one, f"taro-{asked}", PASSWORD + app.code())
        assert heard(printed) == "Access-Accept"
        told = ["現在のトークンはまもなくご利用いただけなくなります。端末変更のお手続きをお願いいたします。"]
        assert received(printed, "Reply-Message") == (told if asked else [])
        assert received(ask(one, ours.contract_id, PASSWORD + ours.code()), "Reply-Message") == []
        refused = ask(one, f"taro-{asked}", PASSWORD + "000000")
        assert received(refused, "Reply-Message") != told


def test_progress_by_week_and_branch(vip: Running, tmp_path: Path) -> None:
    with running(tmp_path, "append", more=vip.section(leave_by="2027-03-31", timeout="1.5")) as one:
        apps = {name: bound(one, vip, name, f"VSMT8200000{at}") for at, name in enumerate(("0011", "0012", "0021"))}
        assert progress(one)["still_there"] == 3
        seed = bytes(range(20))
        one.desk.tokens.import_rows([("SEKI00000001", seed, TokenSpec())], STAFF)
        ours = pyotp.TOTP(base64.b32encode(seed).decode())
        code = apps["0012"].code()
        act_with_verifiers(
            one.settings,
            one.store,
            one.desk,
            lambda desk: desk.devices.change("0012", code, "SEKI00000001", ours.now(), STAFF),
        )
        found = progress(one, "--branch-digits", "3")
        assert (found["leave_by"], found["still_there"], found["changed"]) == ("2027-03-31", 2, 1)
        weeks = found["weeks"]
        assert isinstance(weeks, list) and [week["changed"] for week in weeks] == [0, 1]
        assert found["branches"] == [
            {"name": "001", "still_there": 1, "changed": 1},
            {"name": "002", "still_there": 1, "changed": 0},
        ]
        file = tmp_path / "branches.csv"
        file.write_text("contract_id,branch\n0011,本店\n0012,本店\n", encoding="utf-8")
        assert progress(one, "--branches", str(file))["branches"] == [
            {"name": "", "still_there": 1, "changed": 0},
            {"name": "本店", "still_there": 1, "changed": 1},
        ]
        file.write_text("contract_id,branch\n0011,\n", encoding="utf-8")
        done = run(["--config", str(one.config), "verifier", "progress", "vip", "--branches", str(file)])
        assert done.code == 2 and "line 2: write a contract ID" in done.err
