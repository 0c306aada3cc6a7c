"""What all HTTP sites share, without a server: the client's address, the same-origin check, and HttpDoor."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiohttp import web

from admin_web.http.client_address import client_address
from admin_web.http.door import HttpDoor
from admin_web.http.security import is_same_origin
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
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("2001:db8::1", ["2001:db8:5::7"], "2001:db8:5::7"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
    ],
)
def test_the_last_hop_that_is_not_a_trusted_proxy_counts(peer: str, forwarded: list[str], address: str) -> None:
    trusted: list[AnyNetwork] = PROXIES
    assert client_address(peer, forwarded, trusted) == address


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

    def sweep(self) -> None:
        self.sweeps += 1
        if self._failures:
            raise self._failures.pop(0)
        self.swept.set()


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
