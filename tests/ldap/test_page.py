"""The settings of docs/upstreams-ldap.md, against the servers that they are for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.first_factor import FirstFinding
from otp_core.login.table import Finding
from otp_core.settings import FirstFactorSettings
from sekisho.directories import make_directory
from sekisho.settings import load
from tests.core.settings_files import STORE, private, written
from tests.ldap import samba_dc
from tests.ldap.asking import ask, run
from tests.ldap.samba_dc import domain_controller, why_not
from tests.ldap.slapd import PASSWORD, SERVICE_PASSWORD, Slapd, slapd
from tests.test_examples import blocks

PAGE = "docs/upstreams-ldap.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


def section(folder: Path, name: str, ca_file: Path, password: str, **urls: str) -> FirstFactorSettings:
    """The page's first factor of this name, with the server's address and files in the place of the page's."""
    [block] = [one for one in blocks(PAGE) if f'name = "{name}"' in one]
    replaced = {"/etc/sekisho/ad-ca.pem": ca_file, "/etc/sekisho/ldap-ca.pem": ca_file, **urls}
    replaced |= {"/etc/sekisho/bind.password": private(folder / "bind", password)}
    replaced |= {"/etc/sekisho/vpn.secret": private(folder / "vpn", "kT7v-Zq0b9xWmY3s")}
    for before, after in replaced.items():
        block = block.replace(before, str(after))
    loaded = load(written(folder, f"{STORE}{block}\n"), environment={})
    assert not loaded.warnings
    return loaded.settings.first_factors[0]


def found(section: FirstFactorSettings, typed: str, password: str) -> FirstFinding:
    async def scene() -> FirstFinding:
        directory = make_directory(section)
        try:
            return await ask(directory, typed, password)
        finally:
            directory.close()

    return run(scene)


@pytest.mark.parametrize("name", ["people", "by name"])
def test_openldap(tmp_path: Path, server: Slapd, name: str) -> None:
    urls = {"ldap://ldap.bank.example": server.plain_url, "ldaps://ldap.bank.example": server.url}
    one = section(tmp_path, name, server.authority.file, SERVICE_PASSWORD, **urls)
    for typed in ("taro", "BANK\\taro", "taro@bank.example"):
        assert found(one, typed, PASSWORD).right
    assert found(one, "taro", "not-it").reason is Finding.WRONG_PASSWORD
    permitted = found(one, "jiro", PASSWORD)
    assert permitted.right if name == "by name" else permitted.reason is Finding.NOT_PERMITTED_THERE


@pytest.mark.soak
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_active_directory(tmp_path: Path) -> None:
    (folder := tmp_path / "dc").mkdir()
    with domain_controller(folder) as controller:
        urls = {f"ldaps://dc{number}.bank.example": f"ldaps://{controller.address}:636" for number in (1,)}
        urls |= {', "ldaps://dc2.bank.example"': ""}
        one = section(tmp_path, "directory", controller.authority.file, samba_dc.SERVICE_PASSWORD, **urls)
        for typed in ("taro", "BANK\\taro", "yamada.taro@bank.example"):
            assert found(one, typed, samba_dc.PASSWORD).right
        assert found(one, "OTHER\\taro", samba_dc.PASSWORD).reason is Finding.UNKNOWN_CUSTOMER
        assert found(one, "jiro", samba_dc.PASSWORD).reason is Finding.NOT_PERMITTED_THERE
