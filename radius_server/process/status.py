"""Status-Server: is the door able to answer logins? (RFC 5997)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from otp_core.model import Mode
from otp_core.radius.codec import PacketCode
from otp_core.radius.replies import write_reply
from radius_server.clients import Client
from radius_server.counters import STATUS_RATE, UNHEALTHY, UNREACHABLE, Counters
from radius_server.process.exchange import Exchange


class Shadow(Protocol):
    """Who answers the clients in shadow mode."""

    def reachable(self, name: str) -> bool:
        """Whether the old server would answer."""


class StatusServer:
    """Answers Status-Server with an Access-Accept when logins can be answered. Otherwise it is silent, so that proxies
    and gateways fail over to another server.

    ``rate``: answers per second and client. ``healthy``: whether logins can be answered now. ``clock``: seconds.
    ``reachable``: whether the first factor of this name would answer. ``shadow``: the same for clients in shadow mode.
    """

    def __init__(
        self,
        rate: int,
        healthy: Callable[[], bool],
        counters: Counters,
        clock: Callable[[], float],
        reachable: Callable[[str], bool] = lambda _: True,
        shadow: Shadow | None = None,
    ) -> None:
        self._rate, self._healthy, self._counters, self._clock = rate, healthy, counters, clock
        self._reachable, self._shadow = reachable, shadow
        self._asked: dict[str, tuple[int, int]] = {}
        """By client: the second of its last Status-Server, and how many it has sent in that second."""

    def answer(self, exchange: Exchange) -> None:
        """Reply, or count why not."""
        client, second = exchange.client, int(self._clock())
        last_second, asked = self._asked.get(client.name, (second, 0))
        asked = asked + 1 if last_second == second else 1
        self._asked[client.name] = (second, asked)
        if asked > self._rate:
            self._counters.dropped(STATUS_RATE, source=exchange.peer[0], client=client.name)
        elif client.shadow is None and not self._healthy():
            self._counters.dropped(UNHEALTHY, source=exchange.peer[0], client=client.name)
        elif not self._answers_logins_of(client):
            self._counters.dropped(UNREACHABLE, source=exchange.peer[0], client=client.name)
        else:
            reply = write_reply(exchange.request, PacketCode.ACCESS_ACCEPT, [], client.secret)
            self._counters.counts["Status-Server answered"] += 1
            exchange.listener.send(reply, exchange.peer, exchange.local)

    def _answers_logins_of(self, client: Client) -> bool:
        """In mode code nobody else is asked. In shadow mode only the old server has to be there.
        Of several realms one that can be served is enough."""
        if client.shadow is not None:
            return self._shadow is not None and self._shadow.reachable(client.shadow)
        policy = client.policy
        if policy.mode is Mode.CODE or self._reachable(policy.first_factor):
            return True
        return any(self._reachable(rule.policy.first_factor) for rule in client.realms.values())
