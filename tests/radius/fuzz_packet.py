"""A coverage-guided fuzz target for the codec: ``python tests/radius/fuzz_packet.py [CORPUS] -runs=N``.

The first octet chooses the client's rules and whether the packet is signed anew, so that mutations get past the
signature. What is found belongs into the table of hostile.py, for ever.
"""

from __future__ import annotations

import hmac
import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, from anywhere
atheris: Any = importlib.import_module("atheris")
with atheris.instrument_imports(include=["otp_core.radius.codec"]):
    from otp_core.radius import codec as packet

from tests.radius_peer import Packet, read_reply  # noqa: E402  after the instrumented one

SECRET = b"correct-horse-battery-1"


def signed(octets: bytes, at: int) -> bytes:
    blank = octets[:at] + bytes(16) + octets[at + 16 :]
    return blank[:at] + hmac.new(SECRET, blank, "md5").digest() + blank[at + 16 :]


def one_input(data: bytes) -> None:
    """The receive path and a reply. Anything but the codec's own refusals is a finding."""
    flags, datagram = data[0] if data else 0, data[1:]
    try:
        request = packet.read_request(datagram)
        assert packet.encode(request.attributes) == request.octets[20:] == datagram[20 : len(request.octets)]
        if flags & 4 and request.authenticator_at is not None:
            request = packet.read_request(signed(request.octets, request.authenticator_at))
        packet.verify(request, SECRET, required=bool(flags & 1), limit_proxy_state=bool(flags & 2))
        answer(request, packet.credentials(request, SECRET))
    except (packet.Unreadable, packet.Unservable):
        return


def answer(request: packet.Request, asked: packet.Credentials) -> None:
    text = asked.password.decode("utf-8", errors="replace")
    parts = packet.text_attributes(packet.AttributeType.REPLY_MESSAGE, text)
    assert "".join(value.decode() for _, value in parts) == text
    try:
        reply = packet.write_reply(request, packet.PacketCode.ACCESS_CHALLENGE, parts, SECRET)
    except ValueError:
        assert 38 + packet.size(parts) + sum(len(value) + 2 for value in request.values(33)) > 4096
        return
    attributes = read_reply(Packet(request.octets, SECRET), reply).attributes
    assert [value for type_, value in attributes if type_ == 33] == request.values(33)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
