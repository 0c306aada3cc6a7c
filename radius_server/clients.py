"""The clients (gateways) that may send requests, found by source address. No sockets.

Only the source address says who may send: NAS-IP-Address and NAS-Identifier can be chosen freely by the sender. Of
several clients on one network NAS-Identifier chooses; then the shared secret has to be that one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from otp_core.first_factor import LOCAL_PASSWORD
from otp_core.messages import PROBLEM_TEXTS, TEXTS, Text
from otp_core.model import Language, Mode, Policy
from otp_core.radius.codec import Attribute, AttributeType, Packet, PacketCode, text_attributes
from otp_core.radius.dictionary import Dictionary
from radius_server.realms import RealmSettings, same_realm
from radius_server.settings import ClientSettings, RadiusSettings, Realm, ReturnUserName

_PROMPTS = {
    "no-echo": [(int(AttributeType.PROMPT), bytes(4))],
    "echo": [(int(AttributeType.PROMPT), b"\0\0\0\1")],
    "none": [],
}
"""The attribute for each value of the setting (RFC 2869 section 5.10)."""

_MAX_REMEMBERED = 10_000
"""Source addresses whose client is remembered."""


class RealmRule(NamedTuple):
    """What differs for a client's customers of one realm. ``forwards``: as for Client."""

    settings: RealmSettings
    policy: Policy
    forwards: bool


@dataclass(frozen=True, slots=True)
class Client:
    """One client, with the attributes of its replies already encoded.

    ``texts``: the Reply-Messages by language and text. ``accept_attributes``: what every Access-Accept carries.
    ``reject_delay``: seconds. ``reply_max``: octets. ``challenges``: whether it may be asked a question. ``respells``:
    whether its names or passwords have to be rewritten. ``shared``: there are others on its network, so
    ``Clients.choose`` has to be asked. ``problem_texts``: Reply-Messages by language and finding, for an account that
    cannot be used where its password is kept; empty unless the client is to be told. ``forwards``: who checks its
    passwords is told what the request holds. ``with_next_secret``: the same client with the secret that is to follow,
    while it is being changed (process/two_secrets.py). ``realms``: what holds for the realms of its customers, by
    ``same_realm`` of each. ``sent_user_name``: what a RADIUS server that checks the password is sent in place of the
    User-Name, in a request of one of these realms. ``shadow``: the
    upstream whose replies it gets (process/shadow.py). The rest is as in the settings.
    """

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
    return_user_name: ReturnUserName
    user_name_charset: str
    realm: Realm
    cut_at_nul: bool
    nas_identifier: bytes | None
    challenges: bool
    respells: bool
    shared: bool = False
    problem_texts: Mapping[tuple[Language, str], list[Attribute]] = field(default_factory=dict)
    forwards: bool = False
    relay: bool = False
    ms_chap: bool = False
    realms: Mapping[str, RealmRule] = field(default_factory=dict)
    sent_user_name: bytes | None = None
    with_next_secret: Client | None = None
    shadow: str | None = None

    @property
    def at_risk(self) -> bool:
        """Whether replies to this client can be forged, because it may leave Message-Authenticator out
        (CVE-2024-3596)."""
        return not self.require_message_authenticator


class Clients:
    """All clients. A reload replaces the whole object."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self._clients = sorted(clients, key=lambda client: client.network.prefixlen, reverse=True)
        self._found: dict[str, Client] = {}
        self._by_prefix: dict[tuple[int, int], dict[int, Client]] = {}
        self._on_network: dict[IPv4Network | IPv6Network, dict[bytes | None, Client]] = {}
        for client in self._clients:
            self._on_network.setdefault(client.network, {})[client.nas_identifier] = client
        for network, by_identifier in self._on_network.items():
            prefix = self._by_prefix.setdefault((network.version, network.prefixlen), {})
            first = by_identifier.get(None) or next(iter(by_identifier.values()))
            alone = None in by_identifier and len(by_identifier) == 1
            prefix[int(network.network_address)] = first if alone else replace(first, shared=True)

    def __iter__(self) -> Iterator[Client]:
        """The clients, longest prefix first."""
        return iter(self._clients)

    def find(self, address: str) -> Client | None:
        """The client whose network has this source address, the longest prefix first; None if there is none."""
        try:
            return self._found[address]
        except KeyError:
            return self._search(address)

    def choose(self, found: Client, request: Packet) -> Client | None:
        """Of the clients on the network of ``found``, the one that the request's NAS-Identifier names, otherwise the
        one without the key ``nas_identifier``; None if there is none. The request is not verified yet.

        A Status-Server (RFC 5997) asks for no policy, and proxies put any NAS-Identifier into it: where all clients of
        the network have one secret, any of them answers it."""
        by_identifier = self._on_network[found.network]
        named = request.found.get(AttributeType.NAS_IDENTIFIER, b"").rstrip(b"\0")
        chosen = by_identifier.get(named) or by_identifier.get(None)
        if chosen is None and request.code == PacketCode.STATUS_SERVER:
            one_secret = all(client.secret == found.secret for client in by_identifier.values())
            return found if one_secret else None
        return chosen

    def _search(self, address: str) -> Client | None:
        """One look-up for each prefix length in use. Only addresses of clients are remembered: unknown sources can be
        forged and would fill the memory."""
        source = ip_address(address.partition("%")[0])
        number, bits = int(source), source.max_prefixlen
        for (version, prefixlen), networks in self._by_prefix.items():
            if version == source.version and (client := networks.get(number >> bits - prefixlen << bits - prefixlen)):
                if len(self._found) >= _MAX_REMEMBERED:
                    self._found.clear()
                self._found[address] = client
                return client
        return None


def clients_of(settings: RadiusSettings, dictionary: Dictionary) -> Clients:
    """The clients of the settings. Raises ValueError for a reply attribute that cannot be encoded."""
    realms = {same_realm(one.name): one for one in settings.realms}
    return Clients(_client(one, dictionary, realms) for one in settings.clients)


def _client(settings: ClientSettings, dictionary: Dictionary, realms: Mapping[str, RealmSettings]) -> Client:
    texts = _texts(settings)
    client = Client(
        name=settings.name,
        network=settings.network,
        secret=settings.secret.get_secret_value(),
        policy=settings.policy,
        charset=settings.charset,
        require_message_authenticator=settings.require_message_authenticator,
        limit_proxy_state=settings.limit_proxy_state,
        reject_delay=settings.reject_delay,
        reply_max=settings.reply_max,
        prompt=_PROMPTS[settings.prompt],
        texts=texts,
        accept_attributes=texts[settings.language, Text.ACCEPT] + dictionary.encode_all(settings.reply_attributes),
        return_user_name=settings.return_user_name,
        user_name_charset=settings.user_name_charset or settings.charset,
        realm=settings.realm,
        cut_at_nul=settings.cut_at_nul,
        nas_identifier=None if settings.nas_identifier is None else settings.nas_identifier.encode(),
        challenges=settings.mode in (Mode.CHALLENGE, Mode.AUTO),
        respells=settings.realm != "keep" or settings.cut_at_nul,
        problem_texts=_problem_texts() if settings.explain_password_problems else {},
        forwards=settings.first_factor != LOCAL_PASSWORD,
        relay=settings.relay,
        ms_chap=settings.ms_chap,
        realms={same_realm(name): _realm_rule(settings, realms[same_realm(name)]) for name in settings.realms},
        shadow=settings.shadow,
    )
    if settings.next_secret is None:
        return client
    return replace(client, with_next_secret=replace(client, secret=settings.next_secret.get_secret_value()))


def _realm_rule(client: ClientSettings, realm: RealmSettings) -> RealmRule:
    first_factor = realm.first_factor or client.first_factor
    policy = replace(client.policy, first_factor=first_factor)
    return RealmRule(realm, policy, first_factor != LOCAL_PASSWORD)


def _texts(settings: ClientSettings) -> dict[tuple[Language, Text], list[Attribute]]:
    """A text of the client's own is used for every language, because the gateway may look for its words."""
    own = settings.reply_messages
    return {
        (language, text): text_attributes(
            AttributeType.REPLY_MESSAGE, getattr(own, text.value) or TEXTS.get((language, text), "")
        )
        for language in Language
        for text in Text
    }


def _problem_texts() -> dict[tuple[Language, str], list[Attribute]]:
    return {about: text_attributes(AttributeType.REPLY_MESSAGE, text) for about, text in PROBLEM_TEXTS.items()}
