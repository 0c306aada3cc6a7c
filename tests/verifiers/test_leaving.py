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
from otp_core.store.schema import audit
from otp_core.store.unit_of_work import NewCustomer
from sekisho.verifiers import act_with_verifiers
from sekisho.wiring import cost_of
from tests.journeys.command_line import run
from tests.notices.test_delivery import NEVER_SOON, addressed, mail_server, mails, section, until
from tests.radius.tools import heard, radclient, received
from tests.sekisho import PASSWORD, STAFF, Sekisho, free_port, running
from tests.verifiers.vip_stub import UNFINISHED_TLS, Credential, Running, running_vip

pytestmark = UNFINISHED_TLS
_DAY = datetime.now().astimezone().date()
TOMORROW, TODAY = _DAY + timedelta(days=1), _DAY


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


def bound(
    sekisho: Sekisho, vip: Running, contract_id: str, credential_id: str, email: str | None = None, language: str = "ja"
) -> Credential:
    """A customer whose token is VIP's."""
    app = vip.vip.credential(credential_id)
    sekisho.desk.tokens.import_elsewhere([credential_id], "vip", STAFF)
    with sekisho.store.work() as work:
        record = work.token(credential_id)
    assert record is not None
    hash_ = hash_password(PASSWORD.encode(), cost_of(sekisho.settings))
    new = NewCustomer(contract_id, hash_, email=email, language=language, token_key=record.key)
    sekisho.desk.customers.import_rows([new], [credential_id], STAFF)
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


def notify(sekisho: Sekisho, *more: str) -> dict[str, object]:
    done = run(["--config", str(sekisho.config), "verifier", "notify", "vip", "--json", *more])
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


def test_a_mail_asks_each_customer_of_vip_once_and_nobody_else(vip: Running, tmp_path: Path) -> None:
    day, port, box = _DAY + timedelta(days=90), free_port(), tmp_path / "box"
    more = vip.section(leave_by=str(day), timeout="1.5") + section(port)
    with mail_server(box, port), running(tmp_path, "append", more=more) as one:
        bound(one, vip, "0011", "VSMT83000001", "hanako@a.jp")
        bound(one, vip, "0012", "VSMT83000002", "mary@a.jp", "en")
        bound(one, vip, "0013", "VSMT83000003")
        addressed(one, "taro@a.jp")
        bound(one, vip, "0014", "VSMT83000004", "jiro@a.jp")
        one.desk.enrolment.suspend("0014", None, STAFF)
        found = [notify(one, "--limit", "1"), notify(one), notify(one, "--limit", "0")]
        assert [(each["asked"], each["without_address"]) for each in found] == [(1, 1), (1, 1), (0, 1)]
        until(lambda: len(one.audit(event="notice.sent")) == 3)
        told = {to: mail for to, mail in mails(box) if to != "jiro@a.jp"}
        assert told.keys() == {"hanako@a.jp", "mary@a.jp"}
        japanese, english = (told[to].get_content() for to in ("hanako@a.jp", "mary@a.jp"))
        assert f"{day:%Y年%m月%d日}までに、新しいトークンへの端末変更をお願いいたします。" in japanese
        assert f"by {day.day} {day:%b %Y}" in english and "お心当たり" not in japanese and "not you" not in english
        assert "********0001" in japanese and "VSMT8300" not in japanese + english and "http" not in japanese + english
        rows = one.audit(event="otp.change-asked")
        assert [(row.customer, row.token) for row in rows] == [("0011", "VSMT83000001"), ("0012", "VSMT83000002")]


def test_whoever_was_asked_long_ago_is_asked_again(vip: Running, tmp_path: Path) -> None:
    mail = section(free_port(), NEVER_SOON)
    with running(tmp_path, "append", more=vip.section(leave_by="2099-03-31", timeout="1.5") + mail) as one:
        bound(one, vip, "0021", "VSMT84000001", "hanako@a.jp")
        assert [notify(one)["asked"] for _ in range(2)] == [1, 0]
        with one.store.work() as work:
            earlier = audit.c.id - (15 * 86_400 * 1_000_000 << 10)
            asked = audit.c.event == "otp.change-asked"
            work.connection.execute(audit.update().where(asked).values(id=earlier))
        assert [notify(one, "--again-days", days)["asked"] for days in ("16", "14")] == [0, 1]


@pytest.mark.parametrize(
    ("day", "mail", "told"), [(None, True, "no leave_by"), (TOMORROW, False, "there is no [notices]")]
)
def test_nobody_is_asked_without_a_day_or_a_mail_server(
    vip: Running, tmp_path: Path, day: date | None, mail: bool, told: str
) -> None:
    keys = {} if day is None else {"leave_by": str(day)}
    more = vip.section(timeout="1.5", **keys) + (section(free_port()) if mail else "")
    with running(tmp_path, "append", more=more) as one:
        done = run(["--config", str(one.config), "verifier", "notify", "vip"])
        assert done.code == 2 and told in done.err
        assert one.audit(event="otp.change-asked") == []
