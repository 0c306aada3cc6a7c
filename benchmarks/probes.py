"""Asks a running server, by FreeRADIUS's own radclient, whether it demands what it is said to demand.

A comparison with a server that lets everybody in would be worthless; so nothing is measured before these answers agree.
"""

import subprocess
import time

from benchmarks import tokens
from benchmarks.contender import SILENCE, Contender
from benchmarks.load import Door
from benchmarks.processes import Unusable

_SIGNED = "Message-Authenticator = 0x00"
_REPLIES = ("Access-Accept", "Access-Reject", "Access-Challenge")

CUSTOMERS = 4  # the last ones are kept for the probes
PROBES_TAKE = 4.0  # seconds, most of them waiting for silence


def answers(contender: Contender, door: Door, customers: int) -> dict[str, str]:
    """Probe by probe, what the server said. Uses the last customers, one for each probe."""
    step, at = tokens.step_with_room(PROBES_TAKE)
    time.sleep(max(0.0, at - time.time()))
    last = customers - 1
    right, wrong = contender.credential(last, step), contender.credential(last - 1, step)
    unsigned, stranger = contender.credential(last - 2, step), contender.credential(customers + 7, step)
    empty = tokens.contract_id(last - 3)
    return {
        "the right code": ask(door, right.user, right.password, _SIGNED),
        "the same code again": ask(door, right.user, right.password, _SIGNED),
        "a wrong code": ask(door, wrong.user, _other_than(wrong.password), _SIGNED),
        "an empty password": ask(door, empty, b"", _SIGNED),
        "no password": ask(door, empty, None, _SIGNED),
        "a static password": ask(door, empty, b"correct horse battery", _SIGNED),
        "an unknown customer": ask(door, stranger.user, stranger.password, _SIGNED),
        "no Message-Authenticator": ask(door, unsigned.user, unsigned.password),
    }


def demand(contender: Contender, door: Door, customers: int) -> dict[str, str]:
    """The answers, once they are all as the contender promises; Unusable otherwise."""
    found = answers(contender, door, customers)
    if found != dict(contender.answers):
        wrong = {probe: said for probe, said in found.items() if contender.answers.get(probe) != said}
        raise Unusable(f"{contender.title} answered the probes otherwise than a fair comparison needs: {wrong}")
    return found


def ask(door: Door, user: str, password: bytes | None, *more: str) -> str:
    """One request, sent once; the name of the reply, or silence after a second."""
    lines = [f'User-Name = "{user}"', f"Packet-Src-IP-Address = {door.source}", *more]
    if password is not None:
        lines.append(f'User-Password = "{password.decode()}"')
    said = subprocess.run(
        ["radclient", "-x", "-r", "1", "-t", "1", f"127.0.0.1:{door.port}", "auth", door.secret.decode()],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    for reply in _REPLIES:
        if f"Received {reply} " in said.stdout:
            return reply
    return SILENCE


def _other_than(code: bytes) -> bytes:
    return b"%06d" % ((int(code) + 1) % 1000000) if code.isdigit() else code + b"x"
