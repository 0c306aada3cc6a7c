"""Addresses in the settings: what `config check` accepts can be served, and what is refused gets the right form."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_web.console.oidc.settings import read_issuer
from otp_core.settings import ConfigProblems
from otp_core.settings.addresses import Address, page_url, read_address, read_network, web_origin
from otp_core.settings.ldap import read_url as read_directory
from otp_core.settings.notices import read_server
from otp_core.settings.values import app_issuer
from otp_core.settings.verifiers import read_url as read_vip_url
from otp_core.settings.webhooks import read_hook_url
from radius_server.listen.ports import bind_udp
from sekisho.settings import Settings, load
from tests.core.settings_files import CLIENT, STORE, good, report, warnings
from tests.sekisho import Sekisho, client_table, free_port


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:1812", "127.0.0.1:1812"),
        ("[::ffff:127.0.0.1]:1812", "127.0.0.1:1812"),
        ("[::FFFF:7f00:1]:1812", "127.0.0.1:1812"),
        ("[0:0::0]:1812", "[::]:1812"),
        ("[2001:DB8::0:1]:01812", "[2001:db8::1]:1812"),
        ("[fe80::1%eth0]:1812", "[fe80::1%eth0]:1812"),
        ("[fe80:0::1%eth0.5]:0", "[fe80::1%eth0.5]:0"),
    ],
)
def test_an_address_has_one_form(text: str, meant: str) -> None:
    assert str(read_address(text)) == meant
    assert read_address(meant) == read_address(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fe80::1]:1812", 'is link-local: name the interface, "[fe80::1%eth0]:1812"'),
        ("[2001:db8::1%eth0]:1812", '"[fe80::1%eth0]:1812"'),
        ("[fe80::1%25eth0%x]:1812", '"0.0.0.0:1812"'),
        ("[::ffff:127.0.0.1%eth0]:1812", '"[fe80::1%eth0]:1812"'),
        ("[ff02::1]:1812", '"0.0.0.0:1812"'),
        ("224.0.0.1:1812", '"0.0.0.0:1812"'),
        ("[::ffff:255.255.255.255]:1812", '"0.0.0.0:1812"'),
        ("[::1%]:1812", '"0.0.0.0:1812"'),
        ("[127.0.0.1]:1812", '"0.0.0.0:1812"'),
        ("fe80::1%eth0", '"[2001:db8::1]:1812"'),
        ("x" * 5000, '"0.0.0.0:1812"'),
        (5, '"0.0.0.0:1812"'),
    ],
)
def test_an_address_that_no_socket_can_have_gets_the_right_form(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_address(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::ffff:127.0.0.1]:0", "[::1]:0", "[::]:0", "0.0.0.0:0"])
def test_what_is_accepted_can_be_bound(text: str) -> None:
    address = read_address(text)
    with bind_udp(socket.AF_INET6 if ":" in address.host else socket.AF_INET, address) as made:
        assert made.getsockname()[1] > 0


def test_a_link_local_address_of_this_machine_can_be_bound() -> None:
    for line in Path("/proc/net/if_inet6").read_text().splitlines() if Path("/proc/net/if_inet6").exists() else ():
        packed, _index, _length, scope, _flags, interface = line.split()
        if scope != "20":
            continue
        host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(packed))
        with bind_udp(socket.AF_INET6, read_address(f"[{host}%{interface}]:0")) as made:
            assert made.getsockname()[3] == socket.if_nametoindex(interface)
            return
    pytest.skip("no interface has a link-local address")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("fe80::/64", "fe80::/64"),
        ("10.1.2.3", "10.1.2.3/32"),
    ],
)
def test_a_network_has_one_form(text: str, meant: str) -> None:
    assert read_network(text) == ip_network(meant)
    assert read_network(meant) == read_network(text)


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "fe80::1%eth0/64", "::ffff:10.0.0.1/104", "10.1.2.3/8", "x" * 999, ""]
)
def test_the_advice_for_a_wrong_network_is_right(text: str) -> None:
    with pytest.raises(ValueError, match="write") as caught:
        read_network(text)
    advice = str(caught.value).partition("write ")[2].replace('"', "").split(" or ")[0].split(",")[0]
    read_network(advice)


LIKE_AN_ADDRESS = st.from_regex(r"\[[0-9a-f:.%/]{0,30}\]:[0-9]{0,6}") | st.from_regex(r"[0-9a-f:.%/]{0,40}")


@given(st.text(max_size=60) | LIKE_AN_ADDRESS)
def test_any_text_is_an_address_or_is_told_so(text: str) -> None:
    """Nothing but ValueError; and what was read and is written again is the same."""
    readers: list[Any] = [read_address, read_network, web_origin, page_url, app_issuer]
    for read in readers:
        with contextlib.suppress(ValueError):
            found = read(text)
            assert read(str(found)) == found


@pytest.mark.parametrize(
    ("origin", "browsers_send"),
    [
        ("https://otp.example", "https://otp.example"),
        ("https://OTP.Example:443", "https://otp.example"),
        ("https://otp.example:08443", "https://otp.example:8443"),
        ("HTTP://localhost:80", "http://localhost"),
        ("http://[0::1]:8080", "http://[::1]:8080"),
        ("https://192.0.2.1", "https://192.0.2.1"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(origin: str, browsers_send: str) -> None:
    """Otherwise every form would be refused where a browser sends no Sec-Fetch-Site."""
    assert web_origin(origin) == browsers_send


@pytest.mark.parametrize(
    "origin",
    [
        *("https://otp.example/", "https://otp.example:99999", "https://otp.example:0", "https://a..b", "https://-a"),
        *("https://..", "https://[zz]", "https://[192.0.2.1]", "https://1.2.3", "https://銀行.example", "https://a_b"),
        *("ftp://a", "https://", "https://" + "a" * 5000),
    ],
)
def test_what_no_browser_would_send_is_no_origin(origin: str) -> None:
    with pytest.raises(ValueError, match="write https://HOST or https://HOST:PORT") as caught:
        web_origin(origin)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "url",
    [
        "/",
        "/login?to=x#y",
        "https://www.example.jp/ログイン",
        "https://www.example.jp",
        "http://localhost:8000/",
        "http://[::1]/x",
    ],
)
def test_a_page_can_be_linked_to(url: str) -> None:
    assert page_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://x", "//evil.example", "/\\evil.example", "https:", "https://", "https:///x", "https://a:99999/"),
        *(
            "https://a@b/",
            "http://www.example.jp/",
            "javascript:alert(1)",
            'https://a/"',
            "https://a/<b>",
            "https://a/ b",
        ),
        *("", "https://[::1", "https://a:0/", "https://a/\u202e", "/" + "a" * 5000),
    ],
)
def test_what_cannot_be_linked_to_gets_an_example_and_no_pattern(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match=r'write "https://www\.example\.jp/login"') as caught:
        page_url(url)
    assert "[^" not in str(caught.value) and "(/|" not in str(caught.value) and len(str(caught.value)) < 300
    if url.isprintable() and '"' not in url and "\\" not in url:
        (said,) = report(tmp_path, f'{STORE}[web]\nlogin_url = "{url}"\n')
        assert said.startswith("sekisho.toml:5: web.login_url: ")


@pytest.mark.parametrize("name", ["Bank: Tokyo", "Bank%3ATokyo", "", " Bank", "a" * 41, "a\nb"])
def test_an_issuer_that_apps_cannot_show_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"colon|1 to 40 printable"):
        app_issuer(name)
    if name.isprintable():
        (said,) = report(tmp_path, f'{STORE}[web]\nissuer = "{name}"\n')
        assert said.startswith("sekisho.toml:5: web.issuer: ")


def test_no_setting_is_checked_by_a_pattern_that_its_message_would_print() -> None:
    assert '"pattern"' not in str(Settings.model_json_schema()).replace("'", '"')


def test_clients_that_no_address_hears_are_a_warning(tmp_path: Path) -> None:
    text = f'{STORE}[radius]\nlisten = ["[::]:1812"]\n{CLIENT}'
    (said,) = warnings(good(tmp_path, text), tmp_path)
    assert "radius.clients[0].network: vpn is not heard: no address of radius.listen takes IPv4" in said
    assert said.endswith('add "0.0.0.0:1812" there')
    assert good(tmp_path, text.replace('"[::]:1812"', '"[::]:1812", "0.0.0.0:1812"')).warnings == ()
    mapped = text.replace('"[::]:1812"', '"[::ffff:10.0.0.1]:1812"').replace("10.1.0.0/16", "::ffff:10.1.0.0/112")
    assert good(tmp_path, mapped).warnings == ()


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ('listen = ["0.0.0.0:1812", "127.0.0.1:1812"]', "listen[1]: 127.0.0.1:1812 and 0.0.0.0:1812 overlap"),
        ('listen = ["[::1]:1812", "[::]:1812"]', "listen[1]: [::]:1812 and [::1]:1812 overlap"),
        ('listen = ["127.0.0.1:1812", "[::ffff:127.0.0.1]:1812"]', "listen[1]: 127.0.0.1:1812 is given twice"),
    ],
)
def test_addresses_that_one_machine_cannot_have_together_are_a_problem(tmp_path: Path, listen: str, place: str) -> None:
    (said,) = report(tmp_path, f"{STORE}[radius]\n{listen}\n")
    assert said.startswith(f"sekisho.toml:5: radius.{place}")
    good(tmp_path, f'{STORE}[radius]\nlisten = ["0.0.0.0:1812", "[::]:1812", "0.0.0.0:1813", "0.0.0.0:0"]\n')


@pytest.mark.parametrize(("web", "token", "clash"), [
    ("127.0.0.1:8080", "127.0.0.1:8080", True),
    ("[::]:8080", "127.0.0.1:8080", True),
    ("0.0.0.0:8080", "[::1]:8080", False),
    ("[::]:0", "[::]:0", False),
])  # fmt: skip
def test_two_sites_need_two_addresses(tmp_path: Path, web: str, token: str, clash: bool) -> None:
    text = f'{STORE}[web]\nlisten = "{web}"\n[soft_token]\nlisten = "{token}"\n'
    if clash:
        (said,) = report(tmp_path, text)
        assert "soft_token.listen" in said and "overlap" in said
    else:
        good(tmp_path, text)


def test_an_address_for_a_socket_names_its_interface() -> None:
    assert Address("127.0.0.1", 1812).for_socket() == ("127.0.0.1", 1812)
    assert Address("::1", 1812).for_socket()[:2] == ("::1", 1812)
    with pytest.raises(OSError):
        Address("fe80::1%nosuchif0", 1812).for_socket()


def test_what_is_mapped_into_ipv6_is_served_from_end_to_end(tmp_path: Path) -> None:
    clients = client_table("gateway", "::ffff:127.0.0.0/104", "password")
    web = f'[web]\nlisten = "[::]:{(port := free_port())}"\ntrusted_proxies = ["::ffff:127.0.0.1"]\n'
    sekisho = Sekisho(tmp_path, clients=clients, listen=("[::ffff:127.0.0.1]:0",), more=web)
    try:
        one = sekisho.start().customer()
        assert sekisho.login(one.contract_id, one.password) == "Access-Accept"
        for host in ("127.0.0.1", "::1"):
            connection = http.client.HTTPConnection(host, port, timeout=60)
            connection.request("GET", "/enrol", headers={"X-Forwarded-For": "203.0.113.7:4711"})
            assert connection.getresponse().status == 200
            connection.close()
        log = sekisho.wait_for_log("path=/enrol", times=2)
        assert log.count("source=203.0.113.7") == 1 and "source=::1" in log, "only the first came by the proxy"
    finally:
        sekisho.close()


def test_a_socket_that_no_path_leads_to_is_a_problem(tmp_path: Path) -> None:
    (said,) = report(tmp_path, f'{STORE}[pam]\nsocket = "/run/{"x" * 100}"\n')
    assert said == (
        "sekisho.toml:5: pam.socket: is too long: a socket has at most 98 octets here, as in /run/sekisho/pam.sock"
    )
    good(tmp_path, f'{STORE}[pam]\nsocket = "/run/{"x" * 93}"\n')


@pytest.mark.parametrize(
    ("name", "reason"), [("", "is a folder"), ("s.db", "belongs to the store"), ("note", "is there, and is no socket")]
)
def test_a_place_that_can_be_no_socket_is_named_before_the_start(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "note").write_text("kept")
    socket = tmp_path / name if name else tmp_path
    text = f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\nmaster_key_file = "master.key"\n\n[pam]\nsocket = "{socket}"\n'
    (tmp_path / "sekisho.toml").write_text(text)
    with pytest.raises(ConfigProblems, match=re.escape(f"pam.socket: {socket} {reason}: write a path of its own")):
        load(tmp_path / "sekisho.toml", environment={})
    assert (tmp_path / "note").read_text() == "kept"


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example.jp"])
@pytest.mark.parametrize(
    "read",
    [
        lambda host: read_hook_url(f"https://{host}/top-secret"),
        lambda host: read_issuer(f"https://{host}/realms/bank"),
        lambda host: read_vip_url(f"https://{host}/vipuserservices"),
        lambda host: read_directory(f"ldaps://{host}"),
        lambda host: read_server(f"{host}:587"),
    ],
)
def test_a_name_that_no_resolver_takes_is_said_when_the_settings_are_read(
    host: str, read: Callable[[str], object]
) -> None:
    with pytest.raises(ValueError, match="write"):
        read(host)
    assert read("server1.example.jp")
