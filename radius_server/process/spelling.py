"""How a gateway writes names and passwords: octets in, text out, as the client's settings say. It decides nothing about
customers.
"""

from __future__ import annotations

from otp_core.otp import normalise_contract_id
from otp_core.radius.codec import Unservable
from radius_server.clients import Client
from radius_server.realms import named


def read_texts(client: Client, user_name: bytes, password: bytes, signed: bool) -> tuple[str, str]:
    """Contract ID and password. Raises Unservable; see below. Most clients spell nothing in a way of their own, and for
    them this is one call: it is in the way of every login."""
    if not client.respells:
        try:
            customer = normalise_contract_id(user_name.decode(client.user_name_charset))
            text = password.decode(client.charset)
        except UnicodeDecodeError:
            customer = text = ""  # said below
        if customer:
            return customer, text
    return read_customer(client, user_name), read_password(client, password, signed)


def read_customer(client: Client, octets: bytes) -> str:
    """The contract ID in a User-Name. Raises Unservable for octets that are no text in the client's charset, and for a
    name with a realm where that is refused."""
    name = read_name(client, octets)
    if client.realm != "keep":
        without = named(name).user
        if client.realm == "reject" and without != name:
            raise Unservable("a User-Name with a realm")
        name = without
    if not name:
        raise Unservable("no User-Name")
    return name


def read_name(client: Client, octets: bytes) -> str:
    """The text of a User-Name, with its realm. Raises Unservable."""
    if client.cut_at_nul:
        octets = octets.partition(b"\0")[0]
    try:
        return normalise_contract_id(octets.decode(client.user_name_charset))
    except UnicodeDecodeError:
        raise Unservable(f"a User-Name of octets that are no {client.user_name_charset}: another charset?") from None


def sent_name(client: Client, user_name: bytes) -> bytes:
    """What a RADIUS server that checks the password is sent as User-Name."""
    return user_name if client.sent_user_name is None else client.sent_user_name


def read_password(client: Client, octets: bytes, signed: bool) -> str:
    """The text of a User-Password. Raises Unservable for octets that are none in the client's charset. ``signed``: the
    request had a right Message-Authenticator, so the secret is right."""
    if client.cut_at_nul:
        octets = octets.partition(b"\0")[0]
    try:
        return octets.decode(client.charset)
    except UnicodeDecodeError:
        why = "another charset?" if signed else "wrong secret likely, or another charset"
        raise Unservable(f"a User-Password of octets that are no {client.charset}: {why}") from None
