"""In mode code a customer without an active token is rejected, unless the settings say otherwise; then they are warned
about. RADIUS clients and PAM profiles alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.model import Mode
from pam_module.settings import AskMode, PamProfile
from radius_server.settings import ClientSettings
from tests.core.settings_files import CLIENT, STORE, good, warnings
from tests.sekisho import SECRET

PROFILE = '[pam]\n[[pam.profiles]]\nname = "sudo"\n'


def client(**values: str) -> ClientSettings:
    return ClientSettings.model_validate({"name": "vpn", "network": "10.0.0.1", "secret": SECRET, **values})


@pytest.mark.parametrize("mode", Mode)
def test_the_default_is_reject_in_mode_code_and_password_in_any_other(mode: Mode) -> None:
    expected = "reject" if mode is Mode.CODE else "password"
    assert client(mode=mode).without_token == expected
    assert client(without_token="password", mode=mode).without_token == "password"
    assert client(without_token="reject", mode=mode).without_token == "reject"


@pytest.mark.parametrize("mode", AskMode)
def test_the_same_holds_for_pam_profiles(mode: AskMode) -> None:
    expected = "reject" if mode is AskMode.CODE else "password"
    assert PamProfile.model_validate({"name": "a", "mode": mode}).without_token == expected
    assert PamProfile.model_validate({"name": "a"}).without_token == "password"


@pytest.mark.parametrize("key", ["without_token", "suspended", "lost"])
@pytest.mark.parametrize(("table", "place"), [(CLIENT, "radius.clients[0]"), (PROFILE, "pam.profiles[0]")])
def test_letting_in_unchecked_in_mode_code_is_a_warning(tmp_path: Path, table: str, place: str, key: str) -> None:
    (said,) = warnings(good(tmp_path, STORE + table + f'mode = "code"\n{key} = "password"\n'), tmp_path)
    assert f"{place}.{key}: in mode code" in said
    assert "with nothing checked here, an empty answer too" in said
    assert said.endswith('Otherwise write "reject"')
    for harmless in (f'mode = "code"\n{key} = "reject"\n', 'mode = "code"\n', f'mode = "auto"\n{key} = "password"\n'):
        assert good(tmp_path, STORE + table + harmless).warnings == ()


@pytest.mark.parametrize(
    "key",
    [
        'exempt_users = ["root"]',
        'exempt_groups = ["wheel"]',
        'password_networks = ["10.0.0.0/8"]',
        "enrol_until = 2027-03-31",
    ],
)
def test_whoever_a_profile_of_mode_code_asks_for_nothing_is_a_warning(tmp_path: Path, key: str) -> None:
    (said,) = warnings(good(tmp_path, STORE + PROFILE + f'mode = "code"\n{key}\n'), tmp_path)
    assert f"pam.profiles[0].{key.split()[0]}: in mode code this means that sudo lets " in said
    assert good(tmp_path, STORE + PROFILE + f'mode = "auto"\n{key}\n').warnings == ()


def test_stepping_aside_is_no_warning(tmp_path: Path) -> None:
    text = PROFILE + 'mode = "code"\nexempt = "ignore"\nexempt_users = ["root"]\n'
    assert good(tmp_path, STORE + text).warnings == ()
