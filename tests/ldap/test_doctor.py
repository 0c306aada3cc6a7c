"""What `sekisho doctor` says of directories: a real slapd, right and wrong in each way that can be known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.checks import CheckState
from sekisho.cli.doctor_directories import examine_directories
from tests.core.settings_files import STORE, good, private
from tests.ldap.certificates import Authority
from tests.ldap.slapd import BASE, CUSTOMERS, GROUPS, PASSWORD, PEOPLE, SERVICE, SERVICE_PASSWORD, Slapd, slapd
from tests.sekisho import Sekisho, client_table


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


def settings_for(server: Slapd, **more: str) -> str:
    keys = {
        "urls": f'["{server.url}"]',
        "ca_file": f'"{server.authority.file}"',
        "bind_dn": f'"{SERVICE}"',
        "bind_password_file": '"bind"',
        "base": f'"{BASE}"',
        "filter": '"(uid={user})"',
        **more,
    }
    lines = "\n".join(f"{name} = {value}" for name, value in keys.items() if value)
    return f'{STORE}[[first_factors]]\nname = "people"\ntype = "ldap"\n{lines}\n'


def said(folder: Path, text: str, password: str = SERVICE_PASSWORD) -> list[tuple[CheckState, str]]:
    private(folder / "bind", password)
    results = list(examine_directories(good(folder, text).settings))
    assert {one.check for one in results} <= {"directory people"}
    return [(one.state, one.text) for one in results]


def test_a_directory_that_is_well(tmp_path: Path, server: Slapd) -> None:
    [(state, text)] = said(tmp_path, settings_for(server, groups=f'["{CUSTOMERS}"]'))
    assert state is CheckState.OK
    assert f"localhost:{server.tls_port} answers, with a certificate that is trusted for 89 days more" in text
    assert text.endswith("; bind_dn may search")
    [(state, text)] = said(tmp_path, settings_for(server, urls=f'["{server.plain_url}"]'))
    assert (state, text) == (CheckState.OK, f"localhost:{server.port} answers; bind_dn may search")


def test_customers_who_are_bound_by_a_template(tmp_path: Path, server: Slapd) -> None:
    keys = dict.fromkeys(("bind_dn", "bind_password_file", "base", "filter"), "")
    before = len(server.binds())
    [(state, text)] = said(tmp_path, settings_for(server, **keys, dn_template=f'"uid={{user}},{PEOPLE}"'))
    assert state is CheckState.OK and text.endswith("89 days more")
    assert len(server.binds()) == before


@pytest.mark.parametrize(
    ("more", "password", "words"),
    [
        ({}, "not-it", "refuses bind_dn, the account that searches: 49 (invalidCredentials)"),
        ({"base": '"dc=other,dc=example"'}, SERVICE_PASSWORD, "has no dc=other,dc=example, or bind_dn may not see it"),
        ({"base": f'"ou=none,{BASE}"'}, SERVICE_PASSWORD, f"has no ou=none,{BASE}"),
        ({"groups": f'["cn=none,{GROUPS}"]'}, SERVICE_PASSWORD, f"has no group cn=none,{GROUPS}"),
        ({"urls": '["ldaps://localhost:1"]'}, SERVICE_PASSWORD, "localhost:1 refuses connections: does it run"),
        ({"urls": '["ldaps://nowhere.invalid"]'}, SERVICE_PASSWORD, "has no address that could be found"),
    ],
)
def test_what_is_wrong(tmp_path: Path, server: Slapd, more: dict[str, str], password: str, words: str) -> None:
    [(state, text)] = said(tmp_path, settings_for(server, **more, timeout="10.0"), password)
    assert state is CheckState.FAIL and words in text, text


def test_a_certificate_of_somebody_else_and_one_that_ends_soon(tmp_path: Path, server: Slapd) -> None:
    other = Authority(tmp_path, "other")
    [(state, text)] = said(tmp_path, settings_for(server, ca_file=f'"{other.file}"'))
    assert state is CheckState.FAIL and "has a certificate that is not trusted" in text
    (folder := tmp_path / "soon").mkdir()
    own = Authority(folder, "own")
    with slapd(folder, certificate=own.issue("soon", "localhost", days=3.5)) as soon:
        found = said(tmp_path, settings_for(soon, ca_file=f'"{own.file}"'))
    assert [state for state, _ in found] == [CheckState.WARN, CheckState.OK]
    assert "ends in 3 days: renew it, or nobody can log in" in found[0][1]


def test_every_server_is_asked(tmp_path: Path, server: Slapd) -> None:
    found = said(tmp_path, settings_for(server, urls=f'["{server.url}", "ldaps://localhost:1"]'))
    assert [state for state, _ in found] == [CheckState.OK, CheckState.FAIL]


def test_the_lines_of_the_page_are_what_it_says(tmp_path: Path, server: Slapd) -> None:
    page = (Path(__file__).parents[2] / "docs" / "upstreams-ldap.md").read_text()
    shown = re.findall(r"^    (ok|FAIL)  +directory people: \S+ (.*)$", page, re.MULTILINE)
    found = said(tmp_path, settings_for(server, urls=f'["{server.url}", "ldaps://localhost:1"]'))
    assert [(state.value, text.partition(" ")[2]) for state, text in found] == [(a.lower(), b) for a, b in shown]


def test_the_command_lists_and_tries_a_directory(tmp_path: Path, server: Slapd) -> None:
    private(tmp_path / "bind", SERVICE_PASSWORD)
    more = settings_for(server, urls=f'["{server.url}", "ldaps://localhost:1"]', customer_attribute='"employeeNumber"')
    clients = client_table("vpn", "127.0.0.1", "append", first_factor='"people"')
    one = Sekisho(tmp_path, clients=clients, more=more.removeprefix(STORE))
    at = f"localhost:{server.tls_port}"
    try:
        listed = json.loads(_said(one, 0, "upstream", "list", "--json"))
        urls = [server.url, "ldaps://localhost:1"]
        assert listed == {"name": "people", "servers": urls, "first_factors": ["people"], "asked_by": ["vpn"]}
        command = ("upstream", "test", "people", "--user", "BANK\\taro", "--password-stdin")
        lines = _said(one, 1, *command, typed=PASSWORD).splitlines()
        assert lines[0].startswith(f"ok    {at}: sign of life: answers, with a certificate that is trusted for")
        assert lines[1] == "FAIL  localhost:1: sign of life: refuses connections: does it run, on this port?"
        assert lines[2].startswith(f"ok    {at}: login: right password, contract ID K-0001, after ")
        assert lines[3].startswith("FAIL  localhost:1: login: the directory 'people' gives no answer: localhost:1 ")
        lines = _said(one, 1, *command, typed="not-it").splitlines()
        assert lines[2].startswith(f"ok    {at}: login: wrong password, contract ID K-0001, after ")
        assert "not-it" not in "".join(lines)
    finally:
        one.close()


def _said(one: Sekisho, code: int, *words: str, typed: str = "") -> str:
    command = [sys.executable, "-m", "sekisho", "--config", str(one.config), *words]
    done = subprocess.run(command, input=typed + "\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout
