"""Which of a client's two secrets a request was made with, while its secret is being changed. Pure.

It verifies nothing: whichever secret is chosen, the request is verified with it as any other.
"""

from __future__ import annotations

from otp_core.radius.codec import Packet, Unservable
from otp_core.radius.requests import is_signed_request, read_credentials
from radius_server.clients import Client
from radius_server.process.spelling import read_password


def by_its_secret(present: Client, following: Client, request: Packet) -> Client:
    """``following``, if the request's Message-Authenticator was made with its secret, or if there is none and its
    password makes sense with that secret only. Otherwise ``present``."""
    if request.message_authenticator_at is not None:
        changed = not is_signed_request(request, present.secret) and is_signed_request(request, following.secret)
    else:
        changed = not _makes_sense(request, present) and _makes_sense(request, following)
    return following if changed else present


def _makes_sense(request: Packet, client: Client) -> bool:
    """Whether the password is a text that can be typed: sixteen octets or more that were hidden with another secret
    are one in less than a case in a million."""
    try:
        text = read_password(client, read_credentials(request, client.secret).password, signed=False)
    except Unservable:
        return False
    return text.isprintable()
