"""What has to be remembered between the rounds of an upstream's own question: its State, the server that gave it, what
the gateway said in the first round, and how many rounds there were. Sealed; it lives in our own challenge.
"""

from __future__ import annotations

import base64
import json
from typing import NamedTuple, Protocol

from otp_core.model import Forwarded
from otp_core.radius.codec import AttributeType, Packet

MOST_ROUNDS = 8
"""Questions of one login: a new PIN, the same again, the next code, and some that were answered wrongly."""

_LONGEST_PROMPT = 1000
"""Characters of a question that are passed on."""


class Seal(Protocol):
    """The store's sealer."""

    def seal_value(self, plain: bytes) -> bytes:
        """Sealed, under a random name that stands in front."""

    def unseal_value(self, sealed: bytes) -> bytes:
        """What was sealed. Raises KeyProblem."""


class Round(NamedTuple):
    """A question that waits for its answer. ``number``: 1 for the first; ``server``: as it is written in the settings;
    ``state``: the upstream's."""

    number: int
    server: str
    state: bytes
    first: Forwarded


def write_round(one: Round, sealer: Seal) -> bytes:
    """Sealed, for the store."""
    value = {
        "number": one.number,
        "server": one.server,
        "state": _text(one.state),
        "name": _text(one.first.user_name),
        "charset": one.first.charset,
        "attributes": [[type_, _text(value)] for type_, value in one.first.attributes],
    }
    return sealer.seal_value(json.dumps(value).encode())


def read_round(sealed: bytes, sealer: Seal) -> Round:
    """What ``write_round`` wrote. Raises KeyProblem."""
    value = json.loads(sealer.unseal_value(sealed))
    attributes = tuple((int(type_), _octets(text)) for type_, text in value["attributes"])
    first = Forwarded(_octets(value["name"]), value["charset"], attributes)
    return Round(value["number"], value["server"], _octets(value["state"]), first)


def state_of(question: Packet, rounds: int) -> tuple[bytes, str]:
    """The State that the answer to a question brings back, and why the question cannot be passed on; empty if it can.
    ``rounds``: how many questions there were before."""
    states = question.values(AttributeType.STATE)
    if len(states) > 1:  # which of them belongs to it, nobody knows
        return b"", "it has more than one State (RFC 2865 section 5.24)"
    if not states or not states[0]:
        return b"", "it has no State"
    return states[0], "too many rounds" if rounds >= MOST_ROUNDS else ""


def prompt_of(reply: Packet) -> str:
    """The text of a question, in one line that can be shown."""
    text = b"".join(reply.values(AttributeType.REPLY_MESSAGE)).decode(errors="replace")
    return "".join(one if one.isprintable() else " " for one in text[:_LONGEST_PROMPT])


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: str) -> bytes:
    return base64.b64decode(text)
