"""The settings of the API: its contract, what clashes, what is a warning, and what shares a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.doors import NAMES, processes
from tests.core.settings_files import CLIENT, STORE, good, report, warnings

API = f"{STORE}[api]\n"


def test_the_contract_of_its_settings(tmp_path: Path) -> None:
    api = good(tmp_path, API).settings.api
    assert api is not None
    assert (str(api.listen), api.public_origin) == ("127.0.0.1:8480", "http://localhost:8480")
    assert (api.requests_per_second, api.max_connections, api.trusted_proxies) == (100, 1000, ())


def test_an_api_behind_a_proxy_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    text = f'{API}public_origin = "https://api.example"\n'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "api.trusted_proxies: names nobody" in said
    assert good(tmp_path, f'{text}trusted_proxies = ["10.0.0.1"]\n').warnings == ()


@pytest.mark.parametrize("other", ["web", "soft_token", "console"])
def test_it_has_an_origin_and_an_address_of_its_own(tmp_path: Path, other: str) -> None:
    (said,) = report(tmp_path, f'{API}[{other}]\npublic_origin = "http://localhost:8480"\n')
    assert f"api.public_origin: is [{other}]'s too: the API needs an origin of its own" in said
    (said,) = report(tmp_path, f'{API}[{other}]\nlisten = "127.0.0.1:8480"\n')
    assert f"api.listen: 127.0.0.1:8480 and {other}.listen, 127.0.0.1:8480, overlap" in said


def test_it_shares_the_process_of_the_web_doors_and_can_be_asked_for_alone(tmp_path: Path) -> None:
    settings = good(tmp_path, f"{API}[web]\n{CLIENT}").settings
    assert "api" in NAMES
    assert processes(settings)[-1].doors == ("web", "api")
    (alone,) = processes(settings, ("api",))
    assert (alone.name, alone.doors, alone.essential) == ("web", ("api",), True)
