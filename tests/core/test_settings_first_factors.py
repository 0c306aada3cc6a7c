"""``[[upstreams]]`` and ``[[first_factors]]``: what is wrong with them is said before the server starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.directories import access_to, accounts_of
from sekisho.first_factor_checks import MADE_TYPES
from sekisho.first_factors import MAKERS, relay_problems
from tests.core.settings_files import CLIENT, SECRET, STORE, good, private, report, warnings

UPSTREAM = f'[[upstreams]]\nname = "core"\nservers = ["192.0.2.10:1812"]\nsecret = "{SECRET}"\ntimeout = 1.5\n'
NONE = '[[first_factors]]\nname = "nobody"\ntype = "none"\n'
LDAP = """[[first_factors]]
name = "directory"
type = "ldap"
urls = ["ldaps://dc1.example"]
base = "DC=bank,DC=example"
"""
PAM_CORE = '[[first_factors]]\nname = "core"\ntype = "pam"\nservice = "ib"\n'


def test_the_types_that_pass_are_those_that_can_be_made() -> None:
    assert set(MADE_TYPES) == set(MAKERS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (UPSTREAM + UPSTREAM, 'upstreams[1].name: core is given twice; the first is at sekisho.toml:6'),
        (NONE + NONE, "first_factors[1].name: nobody is given twice; the first is at sekisho.toml:6"),
        (UPSTREAM.replace(f'secret = "{SECRET}"\n', ""), "upstreams[0].secret: is missing: give secret or secret_file"),
        (UPSTREAM.replace(SECRET, "short"), "upstreams[0].secret: is too short"),
        (UPSTREAM.replace('"192.0.2.10:1812"', ""), "upstreams[0].servers: "),
        (UPSTREAM.replace("192.0.2.10:1812", "dc1.example:1812"), "is not an IP address and port"),
        (UPSTREAM.replace("192.0.2.10:1812", "192.0.2.10:0"), "192.0.2.10:0 cannot be asked"),
        (UPSTREAM.replace("192.0.2.10:1812", "0.0.0.0:1812"), "0.0.0.0:1812 cannot be asked"),
        (UPSTREAM.replace('"192.0.2.10:1812"', '"192.0.2.10:1", "192.0.2.10:1"'), "names a server twice"),
        (UPSTREAM + 'source = "here"\n', "upstreams[0].source: 'here' is not an IP address"),
        (UPSTREAM + 'source = "::1"\n', "::1 cannot send to 192.0.2.10:1812"),
        (UPSTREAM + 'relay_attributes = ["State"]\n', "is written by the server itself"),
        (UPSTREAM + 'relay_attributes = ["Class", "Class"]\n', "names an attribute twice"),
        (UPSTREAM + 'relay_attributes = ["Tunnel-Type:1"]\n', 'write "Tunnel-Type"'),
        (UPSTREAM + 'challenges = "maybe"\n', "upstreams[0].challenges: is not known; write 'relay' or 'refuse'"),
        ('[[first_factors]]\nname = "a"\ntype = "radius"\n', "type radius needs upstream"),
        ('[[first_factors]]\nname = "a"\nupstream = "core"\n', "upstream means nothing for type local"),
        ('[[first_factors]]\nname = "local"\ntype = "none"\n', "the name local belongs to the hashes"),
        ('[[first_factors]]\nname = "a"\ntype = "pam"\n', "type pam needs service"),
        ('[[first_factors]]\nname = "a"\ntype = "pam"\nservice = "../x"\n', "first_factors[0].service: "),
        (LDAP + 'service = "login"\n', "service means nothing for type ldap"),
        (LDAP.replace('base = "DC=bank,DC=example"\n', ""), "type ldap needs base"),
        (LDAP.replace("ldaps://dc1.example", "http://dc1.example"), "is not a directory's address"),
        (LDAP.replace("ldaps://", "ldap://"), "ldap://dc1.example would carry passwords in clear"),
        (LDAP + "start_tls = true\n", "start_tls is for ldap:// only"),
        (LDAP + 'bind_dn = "CN=a"\n', "bind_dn and bind_password_file go together"),
        (LDAP + 'bind_password_file = "nowhere"\n', "nowhere is not a file"),
        (LDAP + 'filter = "(uid=taro)"\n', "does not say where the name goes"),
        (LDAP + 'filter = "(|(uid={user})(cn=x))"\n', "first_factors[0].filter: fits accounts of others than {user}"),
        (LDAP + 'filter = "(uid={user}"\n', "does not parse: it has a bracket that is not closed, at character 6"),
        (LDAP + 'filter = "(uid={user})(x=y)"\n', "does not parse: it goes on behind its end, at character 13"),
        (UPSTREAM + LDAP.replace("directory", "core"), "first_factors[0].name: core is the name of an upstream too"),
        (UPSTREAM + PAM_CORE, "first_factors[0].name: core is the name of an upstream too"),
        (LDAP + 'groups = ["Tellers"]\n', "'Tellers' is no DN"),
        (LDAP + 'group_base = "here"\n', "first_factors[0].group_base: is no DN"),
        (LDAP + 'customer_attribute = "a b"\n', "is not the name of an attribute"),
        (LDAP + 'domains = ["BANK\\\\"]\n', "without the backslash"),
        (LDAP + 'dn_template = "uid={user},DC=x"\n', "base is for searches, and with dn_template nobody is searched"),
        (LDAP.replace('base = "DC=bank,DC=example"', 'dn_template = "uid=,DC=x"'), "once where the name goes"),
        (LDAP.replace('base = "DC=bank,DC=example"', 'dn_template = "a{user} b/c"'), "is neither a DN nor a name"),
        (LDAP.replace("dc1.example", f"u:{SECRET}@dc1.example"), "ldaps://…@dc1.example is not a directory's address"),
        (LDAP.replace("dc1.example", "[::1]x"), "is not a directory's address"),
        (LDAP.replace("dc1.example", "dc1.example:0"), "is not a directory's address"),
        (LDAP.replace("ldaps://", "ldap://") + "start_tls = true\ntimeout = 0\n", "first_factors[0].timeout: "),
        (LDAP + 'upstream = "core"\n', "upstream means nothing for type ldap"),
    ],
)  # fmt: skip
def test_what_is_wrong_within_a_section(tmp_path: Path, text: str, said: str) -> None:
    lines = report(tmp_path, STORE + "\n" + text)
    assert any(said in line for line in lines), lines
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CLIENT + 'first_factor = "core"\n', "clients[0].first_factor: no [[first_factors]] has the name 'core'"),
        (NONE + CLIENT + 'first_factor = "nobdy"\n', "did you mean 'nobody'?"),
        ('[web]\nfirst_factor = "core"\n', "web.first_factor: no [[first_factors]] has the name 'core'; there"),
        ('[pam]\n[[pam.profiles]]\nname = "ssh"\nfirst_factor = "x"\n', "pam.profiles[0].first_factor: no [[first"),
        (CLIENT + "relay = true\n", "radius.clients[0].relay: vpn has no RADIUS server behind it"),
        (CLIENT + "ms_chap = true\n", "radius.clients[0].ms_chap: vpn has no RADIUS server behind it"),
        (CLIENT + 'ms_chap = true\nmode = "append"\n', 'MS-CHAPv2 hides what was typed, so no code'),
        (UPSTREAM + CLIENT + 'shadow = "cor"\n', "clients[0].shadow: no [[upstreams]] has the name 'cor'; did you"),
        (UPSTREAM.replace("1.5", "6.0") + CLIENT + 'shadow = "core"\n', "no second try is ever made"),
        (NONE + CLIENT + 'first_factor = "nobody"\n', 'write without_password = "code" there too'),
        (NONE + CLIENT + 'first_factor = "nobody"\nmode = "password"\n', "anybody would be let in"),
        (NONE + '[web]\nfirst_factor = "nobody"\n', "anybody would be let in"),
        (UPSTREAM.replace("192.0.2.10", "127.0.0.1") + CLIENT, "127.0.0.1:1812 is where this server listens itself"),
    ],
)  # fmt: skip
def test_what_is_wrong_beside_other_sections(tmp_path: Path, text: str, said: str) -> None:
    lines = report(tmp_path, STORE + text)
    assert any(said in line for line in lines), lines


def test_a_first_factor_that_asks_nobody_is_said_loudly(tmp_path: Path) -> None:
    text = NONE + CLIENT + 'first_factor = "nobody"\nwithout_password = "code"\n'
    (line,) = warnings(good(tmp_path, STORE + text), tmp_path)
    assert "nobody asks nobody: NO PASSWORD is checked at vpn" in line


def test_ms_chap_is_said_loudly(tmp_path: Path) -> None:
    factor = '[[first_factors]]\nname = "a"\ntype = "radius"\nupstream = "core"\n'
    text = UPSTREAM + "tries = 2\n" + factor + CLIENT + 'first_factor = "a"\nms_chap = true\n'
    (line,) = warnings(good(tmp_path, STORE + text), tmp_path)
    assert "radius.clients[0].ms_chap: MS-CHAPv2 of vpn is WEAK outside TLS" in line


@pytest.mark.parametrize("server", ["192.0.2.10", "dc1.example:1812", "::1:1812", "0.0.0.0:1812"])
def test_a_server_that_cannot_be_asked_is_said_once_and_with_the_right_form(tmp_path: Path, server: str) -> None:
    (line,) = report(tmp_path, STORE + UPSTREAM.replace("192.0.2.10:1812", server))
    assert "upstreams[0].servers[0]: " in line and ":1812" in line
    assert 'write "0.0.0.0' not in line and 'or "[::]' not in line


def test_a_list_without_entries_is_said_in_words(tmp_path: Path) -> None:
    (line,) = report(tmp_path, STORE + UPSTREAM.replace('"192.0.2.10:1812"', ""))
    assert line.endswith("upstreams[0].servers: has too few entries: 1 is the least")


def test_what_an_upstream_cannot_do_here_is_said(tmp_path: Path) -> None:
    factor = '[[first_factors]]\nname = "a"\ntype = "radius"\nupstream = "core"\n'
    text = UPSTREAM + 'tries = 2\nsource = "192.0.2.77"\n' + factor + CLIENT + 'first_factor = "a"\nrelay = true\n'
    lines = warnings(good(tmp_path, STORE + text), tmp_path)
    assert any("upstreams[0].source: 192.0.2.77 is no address of this machine" in line for line in lines), lines
    assert any("clients[0].relay: brings nothing: core has no relay_attributes" in line for line in lines), lines
    text = text.replace("192.0.2.77", "127.0.0.1").replace("tries = 2", 'tries = 2\nrelay_attributes = ["Class"]')
    assert warnings(good(tmp_path, STORE + text), tmp_path) == []


def test_what_nobody_names_is_said(tmp_path: Path) -> None:
    lines = warnings(good(tmp_path, STORE + UPSTREAM + NONE), tmp_path)
    assert any("nobody asks core: no first factor, verifier or client names it" in line for line in lines)
    assert any("nobody asks nobody: no client, profile or page names it" in line for line in lines)


def test_an_old_server_is_an_upstream_that_somebody_names(tmp_path: Path) -> None:
    assert not warnings(good(tmp_path, STORE + UPSTREAM + CLIENT + 'shadow = "core"\n'), tmp_path)


def test_a_secret_of_an_upstream_in_a_file_that_all_can_read_is_a_risk(tmp_path: Path) -> None:
    path = private(tmp_path / "sekisho.toml", STORE + UPSTREAM, 0o644)
    from sekisho.settings import load

    assert any("everybody can read it" in str(one) for one in load(path, environment={}).warnings)


@pytest.mark.parametrize(
    "text",
    [
        LDAP,
        LDAP.replace("ldaps://dc1.example", "ldap://localhost"),
        LDAP.replace("ldaps://dc1.example", "ldap://[::1]:3389/"),
        LDAP.replace("ldaps://", "ldap://") + "start_tls = true\n",
        LDAP.replace("ldaps://", "ldap://") + "allow_plain_text = true\n",
        LDAP.replace('base = "DC=bank,DC=example"', 'dn_template = "{user}@bank.example"'),
        LDAP.replace('base = "DC=bank,DC=example"', 'dn_template = "uid={user},ou=people,dc=x"'),
    ],
)
def test_directories_that_can_be_asked(tmp_path: Path, text: str) -> None:
    [section] = good(tmp_path, STORE + text).settings.first_factors
    assert access_to(section).places and accounts_of(section)


def test_files_of_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    text = LDAP + 'ca_file = "ca.pem"\nbind_dn = "CN=a"\nbind_password_file = "bind"\n'
    private(tmp_path / "ca.pem", "no certificate")
    for content, mode, said in (("secret", 0o644, "can be read by everybody"), ("\n", 0o600, "is empty, and a bind")):
        private(tmp_path / "bind", content, mode)
        lines = report(tmp_path, STORE + text)
        assert any("first_factors[0].ca_file: ca.pem holds no CA certificate in PEM" in line for line in lines), lines
        assert any("first_factors[0].bind_password_file: bind " in line and said in line for line in lines), lines
        assert "secret" not in "".join(lines)


def test_a_server_that_has_more_time_than_the_gateway_waits(tmp_path: Path) -> None:
    lines = report(tmp_path, STORE + LDAP + "timeout = 5\n" + CLIENT + 'first_factor = "directory"\n')
    assert any("radius.request_seconds gives up after 5" in line for line in lines), lines


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MS-MPPE-Send-Kye", "did you mean MS-MPPE-Send-Key?"),
        ("No-Such-Thing-At-All", "add its file with radius.dictionary"),
    ],
)
def test_an_attribute_that_cannot_be_relayed_is_found_before_the_start(tmp_path: Path, name: str, said: str) -> None:
    text = STORE + UPSTREAM + f'relay_attributes = ["Class", "{name}", "MS-MPPE-Recv-Key", "Cisco-AVPair"]\n'
    (problem,) = relay_problems(good(tmp_path, text).settings)
    assert str(problem).startswith(f"upstreams[0].relay_attributes[1]: {name}: not in the dictionary")
    assert said in str(problem)


def test_passwords_in_clear_are_said_loudly(tmp_path: Path) -> None:
    text = LDAP.replace("ldaps://", "ldap://") + "allow_plain_text = true\n" + CLIENT + 'first_factor = "directory"\n'
    [line] = warnings(good(tmp_path, STORE + text), tmp_path)
    assert "first_factors[0].urls" in line and "ldap://dc1.example is asked WITHOUT TLS" in line
