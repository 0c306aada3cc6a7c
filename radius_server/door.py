"""The RADIUS door as the program uses it: checks its settings, opens, reloads, closes.

It puts the parts of this package together. It handles no packet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence

import structlog

from otp_core.doors import DoorFigures, Services
from otp_core.model import AttributeCheck
from otp_core.radius.codec import SIGNED_HEADER, encoded_size
from otp_core.radius.dictionary import CannotEncode, Dictionary
from otp_core.settings import Problem
from otp_core.settings.reload import take_over
from otp_core.store.client_use import Asked, note
from radius_server.client_watch import ClientWatch
from radius_server.clients import Clients, clients_of
from radius_server.duplicates import Duplicates
from radius_server.listen.udp import Listener
from radius_server.process.access import Limits, RadiusServer
from radius_server.process.shadow import ShadowServer
from radius_server.settings import ClientSettings, RadiusSettings

REPORT_SECONDS = 3600.0
"""Between two log lines about each client at risk."""

DROPS_SECONDS = 60.0
"""Between two log lines about what was dropped."""

WATCH_SECONDS = 5.0
"""Between two looks at what the clients have asked, each of which is one small transaction."""

_RESTART_KEYS = (
    "listen", "workers", "max_in_flight", "max_open_challenges", "request_seconds", "status_rate", "duplicate_seconds",
    "duplicate_entries",
)  # fmt: skip
_log = structlog.get_logger("radius")


class RadiusDoor:
    """RADIUS over UDP at every address of ``radius.listen``. Without clients it stays shut. See otp_core.doors.Door."""

    def __init__(self, settings: RadiusSettings) -> None:
        self._settings = self._started = settings  # in force now; in force since the start
        self._listeners: list[Listener] = []
        self._server: RadiusServer | None = None
        self._report: asyncio.TimerHandle | None = None
        self._drops: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._watch: ClientWatch | None = None

    def problems(self) -> Sequence[Problem]:
        """Dictionaries that cannot be read, and clients' reply attributes that cannot be encoded or do not fit into a
        reply."""
        try:
            dictionary = Dictionary(self._settings.dictionary)
        except ValueError as error:
            return [Problem("", "radius.dictionary", str(error))]
        found = []
        for at, client in enumerate(self._settings.clients):
            for problem in _reply_problems(client, dictionary):
                found.append(Problem("", f"radius.clients[{at}].reply_attributes", f"{client.name}: {problem}"))
        return found

    def attribute_check(self) -> AttributeCheck:
        """A check of a customer's reply attributes, which an Access-Accept carries after those of the client.

        Its messages repeat no value, and only names that the dictionary knows: in an imported file a password may have
        slipped into the wrong column.
        """
        radius = self._settings
        try:
            dictionary = Dictionary(radius.dictionary)
        except ValueError as error:
            unreadable = [str(error)]
            return lambda _: unreadable
        client_sizes = [(client, _encode(client.reply_attributes, dictionary)[0]) for client in radius.clients]

        def check(attributes: Mapping[str, object]) -> list[str]:
            octets, wrong = _encode(attributes, dictionary)
            found = [
                f"{name if name in dictionary else f'attribute {number}'}: {wrong[name].form}"
                for number, name in enumerate(attributes, 1)
                if name in wrong
            ]
            for client, client_octets in client_sizes:
                if (whole := SIGNED_HEADER + client_octets + octets) > client.reply_max:
                    found.append(
                        f"make a reply of {whole} octets to {client.name}; its reply_max is {client.reply_max}"
                    )
                    break
            return found

        return check

    def bind(self) -> None:
        """Bind the sockets before the workers are forked, so that all of them read from the same sockets and a free
        worker takes the next datagram. (With SO_REUSEPORT all datagrams from one port of a gateway would go to one
        worker.) Raises OSError (PortTaken)."""
        if self._settings.clients:
            self._listen()

    async def open(self, services: Services, *, shared: bool) -> None:
        """Begin to answer. On OSError (PortTaken) nothing is left open."""
        radius = self._settings
        if not radius.clients:
            _log.warning("no [[radius.clients]] are configured: the RADIUS door stays shut")
            return
        dictionary = Dictionary(radius.dictionary)
        server = RadiusServer(
            clients_of(radius, dictionary),
            dictionary,
            services.authenticator,
            Duplicates(radius.duplicate_seconds, radius.duplicate_entries),
            Limits(radius.max_in_flight, radius.request_seconds, radius.status_rate),
            services.store.sealer.fingerprint,
            services.health.healthy,
            lambda: services.health.open_challenges >= radius.max_open_challenges,
            services.verdict_log,
            services.tally,
            services.authenticator.reachable,
            services.store.sealer.unseal_value,
            services.chap,
            self._shadow_server(services, dictionary),
            None if services.own_mark is None else services.own_mark.is_ours,
        )
        loop = asyncio.get_running_loop()
        if not self._listeners:
            self._listen()
        for listener in self._listeners:
            loop.add_reader(listener.socket, listener.drain, server.receive)
            _log.info("listening", door="radius", address=listener.name, clients=len(radius.clients))
        self._server = server
        self._warn_of_risk(server.clients)
        self._report = loop.call_later(REPORT_SECONDS, self._report_again)
        self._report_drops_later()
        store = services.store

        def write(asked: Sequence[Asked], strangers: Mapping[tuple[str, str], int]) -> None:
            with store.work_aside() as work:
                note(work.connection, int(time.time() * 1000), asked, strangers)

        self._watch = ClientWatch(server.counters, services.tally.verdicts, write)
        self._look = loop.call_later(WATCH_SECONDS, self._look_again)

    def _shadow_server(self, services: Services, dictionary: Dictionary) -> ShadowServer | None:
        """Who answers clients in shadow mode, now or after a reload."""
        parts, sealer = services.shadow, services.store.sealer
        if parts is None:
            return None
        upstream, answers, comparison = parts
        seconds = self._settings.request_seconds
        made = ShadowServer(upstream, answers, sealer, sealer.fingerprint, comparison, dictionary, seconds)
        for client in self._settings.clients:
            if client.shadow is not None:
                made.reachable(client.shadow)  # opens it: it is asked for signs of life from now on
        return made

    def _look_again(self) -> None:
        assert self._watch is not None
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._watch.look())
        self._look = loop.call_later(WATCH_SECONDS, self._look_again)

    def _listen(self) -> None:
        try:
            for address in self._settings.listen:
                self._listeners.append(Listener(address))
        except OSError:
            for listener in self._listeners:
                listener.close()
            self._listeners = []
            raise

    def reload(self, section: RadiusSettings) -> None:
        """Use new clients, secrets and texts from the next request on. Requests in flight keep the old ones."""
        if self._server is None:
            _log.warning("the RADIUS door is shut: restart to open it")
            return
        dictionary = Dictionary(section.dictionary)
        self._server.use(clients_of(section, dictionary), dictionary)
        self._settings = take_over("radius", self._started, section, _RESTART_KEYS)
        self._warn_of_risk(self._server.clients)

    async def close(self) -> None:
        """Stop reading, wait at most ``drain_seconds`` for the requests in flight, and close the sockets."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.socket)
        end = loop.time() + self._settings.drain_seconds
        # Polled, because an event would have to be checked after every request only to serve this one moment.
        while self._server is not None and (self._server.in_flight or self._server.delayed) and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        for timer in (self._report, self._drops, self._look):
            if timer is not None:
                timer.cancel()
        if self._server is not None:
            self._server.counters.report_drops()
            self._report_risk()
            if self._looking is not None:
                await self._looking
            if self._watch is not None:
                await self._watch.look()
            unanswered = self._server.in_flight + self._server.delayed
            _log.info("closed", door="radius", unanswered=unanswered, counts=self._server.counters.named())

    def figures(self) -> DoorFigures:
        """Requests in flight, dropped datagrams by the code of the cause, and what the clients sent."""
        if self._server is None:
            return DoorFigures(0, {})
        counters = self._server.counters
        requests = {(client, "yes"): number for client, number in counters.protected.items()}
        requests |= {(client, "no"): number for client, number in counters.unprotected.items()}
        return DoorFigures(self._server.in_flight, counters.drops, requests, counters.by_secret)

    def _report_drops_later(self) -> None:
        assert self._server is not None
        self._server.counters.report_drops()
        self._drops = asyncio.get_running_loop().call_later(DROPS_SECONDS, self._report_drops_later)

    def _report_again(self) -> None:
        self._report_risk()
        self._report = asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report_again)

    def _report_risk(self) -> None:
        """Log for each client at risk the share of its requests that carried Message-Authenticator. At 1.0 it can be
        required of that client."""
        assert self._server is not None
        for client in self._server.clients:
            if client.at_risk:
                share = round(self._server.counters.share_protected(client.name), 3)
                _log.warning("client at risk", client=client.name, share_with_message_authenticator=share)

    @staticmethod
    def _warn_of_risk(clients: Clients) -> None:
        for client in clients:
            if client.shadow is not None:
                _log.warning(
                    "client in shadow mode: what is checked here protects none of its logins yet",
                    client=client.name,
                    answered_by=client.shadow,
                )
            if client.at_risk:
                _log.warning(
                    "client at risk: it may leave Message-Authenticator out (CVE-2024-3596)",
                    client=client.name,
                    network=str(client.network),
                )


def _reply_problems(client: ClientSettings, dictionary: Dictionary) -> Iterator[str]:
    octets, wrong = _encode(client.reply_attributes, dictionary)
    yield from map(str, wrong.values())
    if SIGNED_HEADER + octets > client.reply_max:
        yield f"together they make a reply of {SIGNED_HEADER + octets} octets; reply_max is {client.reply_max}"


def _encode(attributes: Mapping[str, object], dictionary: Dictionary) -> tuple[int, dict[str, CannotEncode]]:
    """The octets that the attributes take in a packet, and by name what is wrong with those that cannot be encoded."""
    octets, wrong = 0, {}
    for name, value in attributes.items():
        try:
            octets += encoded_size(dictionary.encode_all({name: value}))
        except CannotEncode as error:
            wrong[name] = error
    return octets, wrong
