"""A login as a gateway would ask for it, from what was typed at a terminal: for `sekisho explain login`. No sockets.

The client's settings are read as the door reads them, and names and passwords as ``process/spelling`` does.
"""

from __future__ import annotations

from otp_core.authentication.explanation import Asked
from otp_core.radius.codec import MAX_PASSWORD
from otp_core.radius.dictionary import Dictionary
from otp_core.station import readable
from radius_server.clients import Client, clients_of
from radius_server.process.realm import client_in_realm
from radius_server.process.spelling import read_customer, read_password
from radius_server.settings import RadiusSettings

_LONGEST_NAME = 253
"""Octets of a User-Name (RFC 2865 section 5)."""


class CannotSend(ValueError):
    """No gateway can send this. The text says why."""


def client_named(settings: RadiusSettings, name: str) -> Client | None:
    """The client of this name; None if there is none. Raises ValueError for a dictionary that cannot be read."""
    clients = clients_of(settings, Dictionary(settings.dictionary))
    return next((client for client in clients if client.name == name), None)


def asked_of(
    settings: RadiusSettings,
    client: Client,
    user_name: str,
    password: str | None,
    code: str | None,
    calling_station_id: str,
) -> Asked:
    """What the core is asked. Raises CannotSend, and Unservable for what the door refuses without an attempt."""
    octets = _octets(user_name, client.user_name_charset, "the customer's name", _LONGEST_NAME)
    client = client_in_realm(client, octets)
    customer = read_customer(client, octets)
    texts = [
        None if text is None else read_password(client, _octets(text, client.charset, what, MAX_PASSWORD), True)
        for text, what in ((password, "the password"), (code, "the code"))
    ]
    together = sum(len(text.encode(client.charset)) for text in texts if text is not None)
    if together + len(client.policy.separator.encode(client.charset, "replace")) > MAX_PASSWORD:
        raise CannotSend(f"RADIUS carries a password of at most {MAX_PASSWORD} octets, the code included")
    return Asked(
        customer,
        client.policy,
        client.name,
        texts[0],
        texts[1],
        readable(calling_station_id),
        _address(client),
        settings.request_seconds,
    )


def _address(client: Client) -> str:
    """The address that it asks from, where there is only one: a gateway that names itself as the station names none."""
    return str(client.network.network_address) if client.network.num_addresses == 1 else ""


def _octets(text: str, charset: str, what: str, most: int) -> bytes:
    """Raises CannotSend."""
    try:
        octets = text.encode(charset)
    except UnicodeEncodeError:
        raise CannotSend(f"{what} cannot be written in {charset}, the client's charset") from None
    if len(octets) > most:
        raise CannotSend(f"RADIUS carries at most {most} octets of {what}")
    return octets
