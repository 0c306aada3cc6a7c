"""The gateways that may ask: found by source address, longest prefix first. No sockets; unknown is None."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

from otp_core.login.policy import password_only
from otp_core.messages import TEXTS, Text
from otp_core.model import Language, Policy
from otp_core.radius.codec import Attribute, AttributeType, text_attributes
from otp_core.radius.dictionary import Dictionary
from radius_server.settings import ClientSettings, RadiusSettings

_PROMPT = {
    "no-echo": [(int(AttributeType.PROMPT), bytes(4))],
    "echo": [(int(AttributeType.PROMPT), b"\0\0\0\1")],
    "none": [],
}
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Client:
    """One gateway, with everything about its replies made ready."""

    name: str
    network: IPv4Network | IPv6Network
    secret: bytes = field(repr=False)
    policy: Policy
    charset: str
    require_message_authenticator: bool
    limit_proxy_state: bool
    reject_delay: float
    reply_max: int
    prompt: list[Attribute]
    texts: Mapping[tuple[Language, Text], list[Attribute]]
    accept_attributes: list[Attribute]

    @property
    def at_risk(self) -> bool:
        """Whether a forged packet could be taken for this client's (CVE-2024-3596)."""
        return not self.require_message_authenticator


class Clients:
    """All of them. Replaced as a whole when the settings are read again."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self._clients = sorted(clients, key=lambda client: client.network.prefixlen, reverse=True)
        self._found: dict[str, Client] = {}
        self._by_prefix: dict[tuple[int, int], dict[int, Client]] = {}
        for client in self._clients:
            network = client.network
            prefix = self._by_prefix.setdefault((network.version, network.prefixlen), {})
            prefix[int(network.network_address)] = client

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients)

    def find(self, address: str) -> Client | None:
        """The client of a source address."""
        try:
            return self._found[address]
        except KeyError:
            return self._search(address)

    def _search(self, address: str) -> Client | None:
        """One look for each prefix length in use, the longest first; forged sources leave nothing behind."""
        source = ip_address(address.partition("%")[0])
        number, bits = int(source), source.max_prefixlen
        for (version, prefixlen), networks in self._by_prefix.items():
            if version == source.version and (client := networks.get(number >> bits - prefixlen << bits - prefixlen)):
                if len(self._found) >= _MOST_REMEMBERED:
                    self._found.clear()
                self._found[address] = client
                return client
        return None


def clients_of(settings: RadiusSettings, dictionary: Dictionary) -> Clients:
    """The clients as they are set. Raises ValueError for a reply attribute that cannot be encoded."""
    return Clients(_client(one, dictionary) for one in settings.clients)


def _client(settings: ClientSettings, dictionary: Dictionary) -> Client:
    texts = _texts(settings)
    return Client(
        name=settings.name,
        network=settings.network,
        secret=settings.secret.get_secret_value(),
        policy=_policy(settings),
        charset=settings.charset,
        require_message_authenticator=settings.require_message_authenticator,
        limit_proxy_state=settings.limit_proxy_state,
        reject_delay=settings.reject_delay,
        reply_max=settings.reply_max,
        prompt=_PROMPT[settings.prompt],
        texts=texts,
        accept_attributes=texts[settings.language, Text.ACCEPT] + dictionary.encode_all(settings.reply_attributes),
    )


def _policy(settings: ClientSettings) -> Policy:
    return Policy(
        mode=settings.mode,
        password_only=password_only(settings.without_token, settings.suspended, settings.lost),
        language=settings.language,
        repeated_login_seconds=settings.repeated_login_seconds,
        code_is_enough=settings.without_password == "code",
    )


def _texts(settings: ClientSettings) -> dict[tuple[Language, Text], list[Attribute]]:
    """A client's own text serves customers of every language: its words may be matched by a program."""
    own = settings.reply_messages
    return {
        (language, text): text_attributes(
            AttributeType.REPLY_MESSAGE, getattr(own, text.value) or TEXTS.get((language, text), "")
        )
        for language in Language
        for text in Text
    }
