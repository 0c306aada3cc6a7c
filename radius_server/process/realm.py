"""A request of a client with realms: the client as its customers' realm has it. It decides nothing about customers."""

from __future__ import annotations

from dataclasses import replace

from otp_core.radius.codec import AttributeType, Unservable
from radius_server.clients import Client
from radius_server.process.exchange import Exchange
from radius_server.process.spelling import read_name
from radius_server.realms import named, same_realm

_USER_NAME = int(AttributeType.USER_NAME)
_LONGEST_SAID, _LONGEST_NAME = 60, 253


def in_its_realm(exchange: Exchange) -> Exchange:
    """The same exchange, with the realm's first factor and the name that is sent there. Raises Unservable for a realm
    that the client's settings do not name, or a name that cannot be sent there."""
    octets = exchange.request.found.get(_USER_NAME)
    if not octets:
        return exchange
    client = client_in_realm(exchange.client, octets)
    if client is exchange.client:
        return exchange
    return Exchange(
        client, exchange.request, exchange.listener, exchange.peer, exchange.local, exchange.key, exchange.received
    )


def client_in_realm(client: Client, octets: bytes) -> Client:
    """The client, for the realm of this User-Name; itself for a name without one. Raises Unservable."""
    if not client.realms:
        return client
    user, realm = named(read_name(client, octets))
    if realm is None:
        return client
    rule = client.realms.get(same_realm(realm))
    if rule is None:
        raise Unservable(
            f"the realm {realm[:_LONGEST_SAID]!r} in a User-Name is none of the client's: add it to its realms, or "
            "correct the client"
        )
    if not user:
        raise Unservable("a User-Name with a realm and nothing else")
    sent = rule.settings.sent(octets, user, client.user_name_charset)
    if len(sent) > _LONGEST_NAME:
        raise Unservable(
            f"the User-Name for the server of this realm would have {len(sent)} octets, of which RADIUS carries 253"
        )
    return replace(client, policy=rule.policy, forwards=rule.forwards, sent_user_name=sent)
