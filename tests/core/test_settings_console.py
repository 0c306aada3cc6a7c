"""The settings of the console: what is refused, what is a warning, and what shares a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.doors import NAMES, processes
from tests.core.settings_files import CLIENT, STORE, good, report, warnings

CONSOLE = f"{STORE}[console]\n"


def test_the_contract_of_its_settings(tmp_path: Path) -> None:
    console = good(tmp_path, CONSOLE).settings.console
    assert console is not None
    assert (str(console.listen), console.public_origin) == ("127.0.0.1:8380", "http://localhost:8380")
    assert (console.idle_seconds, console.session_seconds) == (900, 28_800)
    assert console.approvals == ("permit-reissue", "import", "bulk", "staff", "api-key")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8380", "https://10.1.2.3", "https://[2001:db8::1]:8380"])
def test_an_ip_address_as_origin_is_refused_with_what_to_do(tmp_path: Path, origin: str) -> None:
    (said,) = report(tmp_path, f'{CONSOLE}public_origin = "{origin}"\n')
    assert said.startswith("sekisho.toml:5: console.public_origin:")
    assert "is an IP address, and passkeys need a name: write https://HOST" in said


def test_an_act_that_is_unknown_is_refused(tmp_path: Path) -> None:
    (said,) = report(tmp_path, f'{CONSOLE}approvals = ["permit-reisue"]\n')
    assert "console.approvals" in said and "permit-reissue" in said


def test_a_one_person_shop_is_told_what_that_means(tmp_path: Path) -> None:
    (said,) = warnings(good(tmp_path, f"{CONSOLE}approvals = []\n"), tmp_path)
    assert "console.approvals: is empty: one person alone" in said
    assert good(tmp_path, CONSOLE).warnings == ()


def test_a_console_behind_a_proxy_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    text = f'{CONSOLE}public_origin = "https://console.example"\n'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "console.trusted_proxies: names nobody" in said
    assert good(tmp_path, f'{text}trusted_proxies = ["10.0.0.1"]\n').warnings == ()


@pytest.mark.parametrize("other", ["web", "soft_token"])
def test_it_has_an_origin_and_an_address_of_its_own(tmp_path: Path, other: str) -> None:
    (said,) = report(tmp_path, f'{CONSOLE}[{other}]\npublic_origin = "http://localhost:8380"\n')
    assert f"console.public_origin: is [{other}]'s too" in said
    (said,) = report(tmp_path, f'{CONSOLE}[{other}]\nlisten = "127.0.0.1:8380"\n')
    assert f"console.listen: 127.0.0.1:8380 and {other}.listen, 127.0.0.1:8380, overlap" in said


def test_it_shares_the_process_of_the_web_doors_and_can_be_asked_for_alone(tmp_path: Path) -> None:
    settings = good(tmp_path, f"{CONSOLE}[web]\n{CLIENT}").settings
    assert "console" in NAMES
    assert processes(settings)[-1].doors == ("web", "console")
    (alone,) = processes(settings, ("console",))
    assert (alone.name, alone.doors, alone.essential) == ("web", ("console",), True)
    assert processes(settings, ("web",))[-1].doors == ("web",)
