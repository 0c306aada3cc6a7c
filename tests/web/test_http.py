"""What all HTTP sites share, without a server: the client's address, the same-origin check, and HttpDoor."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from admin_web.http.client_address import Doubt, Found, client_address
from admin_web.http.door import HttpDoor
from admin_web.http.host import is_own_host
from admin_web.http.rare_log import RareLog
from admin_web.http.security import is_same_origin
from admin_web.http.session_locks import SessionLocks
from admin_web.softtoken.settings import SoftTokenSettings
from otp_core.clock import ClockSetBack
from otp_core.doors import Services
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.settings.values import Address, AnyNetwork, read_network

PROXIES = [read_network("10.0.0.0/8"), read_network("2001:db8::1")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("2001:db8::1", ["2001:db8:5::7"], "2001:db8:5::7"),
        ("10.0.0.1", ["203.0.113.5:51234"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8:5::7]:443"], "2001:db8:5::7"),
        ("10.0.0.1", ["[2001:db8:5::7]"], "2001:db8:5::7"),
        ("10.0.0.1", ['"[2001:db8:5::7]:443"'], "2001:db8:5::7"),
        ("10.0.0.1", ['"203.0.113.5"'], "203.0.113.5"),
        ("10.0.0.1", ["fe80::7%eth0"], "fe80::7"),
        ("10.0.0.1", ["[fe80::7%25eth0]:80"], "fe80::7"),
        ("10.0.0.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["[::ffff:203.0.113.5]:4711"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5:1, 10.0.0.2:2", "[2001:db8::1]:3"], "203.0.113.5"),
        ("::ffff:10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("10.0.0.1", [", ".join(["rubbish"] * 500 + ["203.0.113.5"])], "203.0.113.5"),
    ],
)
def test_the_last_hop_that_is_not_a_trusted_proxy_counts(peer: str, forwarded: list[str], address: str) -> None:
    trusted: list[AnyNetwork] = PROXIES
    assert client_address(peer, forwarded, trusted) == Found(address, None)


@pytest.mark.parametrize(
    "entry",
    [
        *("unknown", "_hidden", "", "203.0.113.5:", "203.0.113.5:x", "[203.0.113.5", "203.0.113.999"),
        *("203.0.113.5%eth0", "[]:1", "é", "1" * 5000, "203.0.113.5;203.0.113.6", "2001:db8::5]:1", '"', "%"),
    ],
)
def test_what_is_no_address_ends_the_search_at_the_proxy_and_is_said(entry: str) -> None:
    assert client_address("10.0.0.1", [f"198.51.100.1, {entry}"], PROXIES) == Found("10.0.0.1", Doubt.UNREADABLE)


def test_whoever_is_no_trusted_proxy_is_not_believed_and_that_is_said() -> None:
    nobody = Found("192.0.2.1", Doubt.NOT_TRUSTED)
    assert client_address("192.0.2.1", ["198.51.100.1"], PROXIES) == nobody
    assert client_address("192.0.2.1", [], PROXIES, forwarded=True) == nobody


def test_forwarded_is_not_read_and_a_proxy_that_sends_nothing_else_is_said() -> None:
    assert client_address("10.0.0.1", [], PROXIES, forwarded=True) == Found("10.0.0.1", Doubt.NO_ADDRESS)
    assert client_address("10.0.0.1", ["198.51.100.1"], PROXIES, forwarded=True) == Found("198.51.100.1", None)


@given(
    peer=st.sampled_from(["10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "2001:db8::1"]),
    forwarded=st.lists(
        st.text(st.characters(), max_size=120) | st.from_regex(r"[0-9a-f:.%,\[\]\" ]{0,60}"), max_size=4
    ),
)
def test_whatever_the_header_says_the_outcome_is_an_address(peer: str, forwarded: list[str]) -> None:
    found = client_address(peer, forwarded, PROXIES)
    assert str(ip_address(found.address)) == found.address and "%" not in found.address


def test_a_thing_that_strangers_cause_is_logged_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    log = RareLog("http", lambda: now, 60.0)
    for second in range(120):
        now = float(second)
        log.warn("too many", peer="192.0.2.1")
        log.warn("too odd")
    said = capsys.readouterr().out
    assert said.count("too many") == said.count("too odd") == 2 and "times=60" in said


def test_sec_fetch_site_outranks_origin() -> None:
    assert is_same_origin({"Sec-Fetch-Site": "same-origin"}, "https://token.example")
    assert not is_same_origin(
        {"Sec-Fetch-Site": "same-site", "Origin": "https://token.example"}, "https://token.example"
    )
    assert is_same_origin({"Origin": "https://token.example"}, "https://token.example")
    assert not is_same_origin({}, "https://token.example")


# HttpDoor

NO_SERVICES = cast(Services, None)


class Site:
    """A site without routes; its sweeps fail in the ways it is given, and then succeed."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.sweeps = 0
        self.swept = asyncio.Event()

    def application(self) -> web.Application:
        return web.Application()

    def sweep(self) -> bool:
        self.sweeps += 1
        if self._failures:
            raise self._failures.pop(0)
        self.swept.set()
        return False


def door(site: Site, section: SoftTokenSettings | None) -> HttpDoor[SoftTokenSettings]:
    return HttpDoor(
        "soft_token", section, lambda _, __: site, restart_keys=("listen", "public_origin"), sweep_seconds=0.01
    )


def section(**more: object) -> SoftTokenSettings:
    return SoftTokenSettings.model_validate({"listen": Address("127.0.0.1", 0), **more})


def test_a_door_without_its_section_stays_closed() -> None:
    async def life() -> int:
        site = Site()
        one = door(site, None)
        assert one.problems() == []
        await one.open(NO_SERVICES, shared=False)
        one.reload(None)
        await one.close()
        return site.sweeps

    assert asyncio.run(life()) == 0


@pytest.mark.parametrize("failure", [StoreBusy("locked"), StoreUnavailable("full"), ClockSetBack("back")])
def test_a_sweep_that_fails_is_tried_again(failure: Exception) -> None:
    async def life() -> None:
        site = Site(failure, failure)
        one = door(site, section())
        await one.open(NO_SERVICES, shared=False)
        try:
            async with asyncio.timeout(30):
                await site.swept.wait()
        finally:
            await one.close()

    asyncio.run(life())


def test_a_closed_door_sweeps_no_more() -> None:
    async def life() -> None:
        site = Site()
        one = door(site, section())
        await one.open(NO_SERVICES, shared=False)
        await site.swept.wait()
        await one.close()
        sweeps = site.sweeps
        await asyncio.sleep(0.1)
        assert site.sweeps == sweeps

    asyncio.run(life())


# The host that is asked for

ORIGIN = "https://console.bank.example"


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("console.bank.example", True),
        ("CONSOLE.Bank.Example.:9443", True),
        ("console.bank.example:", True),
        ("evil.example", False),
        ("console.bank.example.evil.example", False),
        ("evil.example:console.bank.example", False),
        ("console.bank.example:443:1", False),
        ("user@console.bank.example", False),
        ("", False),
        ("c" * 300, False),
    ],
)
def test_a_site_is_served_under_the_host_of_its_origin(host: str, served: bool) -> None:
    assert is_own_host([host], ORIGIN) is served


@pytest.mark.parametrize("host", ["10.0.0.5", "10.0.0.5:8080", "[2001:db8::1]", "[2001:db8::1]:8080", "localhost:8080"])
def test_what_no_name_server_can_lead_elsewhere_is_taken(host: str) -> None:
    assert is_own_host([host], ORIGIN)
    assert is_own_host([], ORIGIN)


def test_two_hosts_are_none() -> None:
    assert not is_own_host(["console.bank.example", "console.bank.example"], ORIGIN)


def test_requests_of_one_session_wait_for_each_other_and_those_without_one_for_nobody() -> None:
    locks = SessionLocks()
    taros = locks.of("taros")
    assert locks.of("taros") is taros is not locks.of("hanakos")
    for none in ("", "x" * 65):
        first = locks.of(none)
        assert locks.of(none) is not first, "whoever signs in would wait for all others who do"
