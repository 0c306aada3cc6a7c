"""MS-CHAPv2 at the door: a login that is passed on to the RADIUS server that knows the password, and what its refusal
says. Which clients may send it, their settings say. It decides nothing about customers.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from otp_core.login.table import Finding
from otp_core.model import Attempt, Mode
from otp_core.radius import ms_chap
from otp_core.radius.codec import Attribute, Unservable
from otp_core.radius.requests import forwarded
from otp_core.station import readable
from radius_server.process.exchange import Exchange
from radius_server.process.spelling import read_customer, sent_name

_MODES = (Mode.CHALLENGE, Mode.AUTO, Mode.PASSWORD)
"""Those whose first round can be a password alone."""


def ms_chap_attempt(
    exchange: Exchange, relays: Callable[[str], bool], fingerprint: Callable[..., int], request_seconds: float
) -> Attempt:
    """The login attempt of a request with MS-CHAPv2. ``relays``: whether a first factor is a RADIUS server.
    ``fingerprint``: the store's. Raises Unservable with what to change."""
    client, request = exchange.client, exchange.request
    if not client.ms_chap:
        raise Unservable(
            "MS-CHAP is not served here: let the client use PAP, or set ms_chap = true for it if a RADIUS server "
            "checks its passwords (version 2 only)"
        )
    if client.policy.mode not in _MODES:
        raise Unservable('MS-CHAPv2 hides the code: let the client use PAP, or set mode = "challenge"')
    if not relays(client.policy.first_factor):
        raise Unservable("MS-CHAPv2 can be passed on only: let the client use PAP, or name a first_factor of radius")
    asked = ms_chap.read_ms_chap(request)
    if asked.state is not None and client.policy.mode is not Mode.PASSWORD:
        raise Unservable("the answer to a challenge came as MS-CHAPv2: let the client send codes as PAP")
    request_id = bytes((request.identifier,)) + request.authenticator
    said = (asked.user_name, asked.state or b"", asked.ms_chap.challenge, asked.ms_chap.response)
    return Attempt(
        read_customer(client, asked.user_name),
        "",
        client.policy,
        client.name,
        exchange.peer[0],
        readable(asked.calling_station_id.decode(errors="replace")),
        asked.state,
        fingerprint(b"request", client.name.encode(), request_id, *said),
        exchange.received + request_seconds,
        forwarded(sent_name(client, asked.user_name), client.charset, request.attributes, ms_chap=asked.ms_chap),
    )


def error_for(exchange: Exchange, reason: str) -> list[Attribute]:
    """The MS-CHAP-Error of an Access-Reject, if it answers MS-CHAP of a client that may send it; what is wrong with the
    account only where the client is told."""
    if not exchange.client.ms_chap:
        return []
    told = reason if exchange.client.problem_texts else Finding.WRONG_PASSWORD.value
    return ms_chap.error_for(exchange.request, told, os.urandom(16))
