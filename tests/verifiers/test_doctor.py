"""What the doctor says of VIP: the certificate's days, and whether the service answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.checks import CheckState
from sekisho.cli.doctor_verifiers import examine_verifiers
from tests.core.settings_files import STORE, good
from tests.ldap.certificates import Authority
from tests.verifiers.vip_stub import Running, running_vip


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


def said(folder: Path, section: str) -> list[tuple[CheckState, str]]:
    settings = good(folder, STORE + section).settings
    return [(one.state, one.text) for one in examine_verifiers(settings)]


def test_a_service_that_answers(vip: Running, tmp_path: Path) -> None:
    assert said(tmp_path, vip.section()) == [
        (CheckState.OK, f"{vip.certificate} is good for 89 days more"),
        (CheckState.OK, f"{vip.vip.url} answers"),
    ]
    assert vip.vip.called() == ["GetUserInfo"], "nobody is made, and no code is tried"


def test_an_account_that_is_not_ours(vip: Running, tmp_path: Path) -> None:
    vip.vip.answers["GetUserInfo"] = lambda request_id: vip.vip.reply("GetUserInfo", request_id, "6001")
    state, text = said(tmp_path, vip.section())[-1]
    vip.vip.answers.clear()
    assert state is CheckState.FAIL
    assert "status 6001: does the certificate belong" in text


def test_a_certificate_that_has_expired(vip: Running, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "old-ca").issue("old", "bank.example", days=-1)
    key.chmod(0o600)
    [(state, text)] = said(tmp_path, vip.section(certificate=f'"{certificate}"', key=f'"{key}"'))
    assert state is CheckState.FAIL
    assert "old.pem has expired on" in text


def test_a_service_that_is_not_there(vip: Running, tmp_path: Path) -> None:
    state, text = said(tmp_path, vip.section(url='"https://localhost:9/x"'))[-1]
    assert state is CheckState.FAIL
    assert "https://localhost:9/x gives no answer" in text
