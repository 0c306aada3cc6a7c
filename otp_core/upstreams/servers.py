"""The servers of one upstream: which is asked first, when one counts as dead, and what revives it.

A server is dead if a request to it was not answered, and nothing else valid came from it since that was sent: it is
asked only after the others, until ``dead_seconds`` have passed or any valid reply comes. So none is a zombie for ever,
and one that answers is never dead. It sends nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import structlog

from otp_core.settings.values import Address
from otp_core.upstreams.channels import Channels

_log = structlog.get_logger("upstream")


class Server:
    """One server. ``dead_because``: why it counts as dead, empty for one that answers. ``heard_at``: when the last
    valid reply came (loop time). ``answers_status``: it has answered a Status-Server. ``counts``: logins there by
    outcome, one of OUTCOMES."""

    def __init__(self, address: Address, channels: Channels) -> None:
        self.address, self.channels = address, channels
        self.dead_because, self.dead_until = "", 0.0
        self.heard_at, self.answers_status = float("-inf"), False
        self.counts: Counter[str] = Counter()


OUTCOMES = ("accept", "reject", "challenge", "no-answer")


class Servers:
    """Those of one upstream, in order of preference. ``loop_time``: seconds of the event loop. ``spare``: seconds for
    which one login alone tries a dead server whose time is over."""

    def __init__(
        self,
        upstream: str,
        servers: Sequence[Server],
        dead_seconds: float,
        spare: float,
        loop_time: Callable[[], float],
    ) -> None:
        self._upstream, self._dead_seconds, self._spare, self._loop_time = upstream, dead_seconds, spare, loop_time
        self._servers = list(servers)

    def __iter__(self) -> Iterator[Server]:
        """In order of preference."""
        return iter(self._servers)

    def in_order(self) -> list[Server]:
        """The order in which a login asks them: the dead ones last. All of them, always: a login that asks nobody is
        lost for certain."""
        if not any(server.dead_because for server in self._servers):
            return self._servers
        now, living, dead = self._loop_time(), [], []
        for server in self._servers:
            if not server.dead_because:
                living.append(server)
            elif server.dead_until <= now:
                server.dead_until = now + self._spare  # this login tries it; the others find it dead meanwhile
                living.append(server)
            else:
                dead.append(server)
        return living + dead

    def at(self, address: str) -> Server | None:
        """The server of this address, as it is written in the settings; None if it is none of them any more."""
        return next((one for one in self._servers if str(one.address) == address), None)

    def is_down(self) -> bool:
        """Whether it is known that no server would answer. One that never answers Status-Server counts as living again
        when its time is over: nothing else could tell."""
        now = self._loop_time()
        return all(one.dead_because and (one.answers_status or one.dead_until > now) for one in self._servers)

    def heard(self, server: Server) -> None:
        """A valid reply came from there."""
        server.heard_at = self._loop_time()
        if server.dead_because:
            server.dead_because = ""
            _log.warning("an upstream's server answers again", upstream=self._upstream, server=str(server.address))

    def missed(self, server: Server, sent_at: float, cause: str) -> None:
        """A request that was sent there at ``sent_at`` (loop time) got no valid reply."""
        if server.heard_at >= sent_at:
            return  # a packet was lost; others are answered
        server.dead_until = self._loop_time() + self._dead_seconds
        if server.dead_because:
            server.dead_because = cause
            return
        server.dead_because = cause
        _log.error(
            "an upstream's server does not answer",
            upstream=self._upstream,
            server=str(server.address),
            cause=cause,
            next=", ".join(str(one.address) for one in self._servers if not one.dead_because) or "none",
        )
