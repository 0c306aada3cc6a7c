"""A coverage-guided fuzz target for the codec: ``python tests/radius/fuzz_packet.py [CORPUS] -runs=N``.

The first octet chooses the client's rules and whether the packet is signed anew, so that mutations get past the
signature. Add every packet that fails to the table of hostile.py.
"""

from __future__ import annotations

import hmac
import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, from anywhere
atheris: Any = importlib.import_module("atheris")
_CODEC = ["otp_core.radius.codec", "otp_core.radius.requests", "otp_core.radius.replies"]
with atheris.instrument_imports(include=_CODEC):
    from otp_core.radius import codec, replies, requests

from tests.radius_peer import Packet, read_reply  # noqa: E402  after the instrumented one

SECRET = b"correct-horse-battery-1"


def signed(octets: bytes, at: int) -> bytes:
    blank = octets[:at] + bytes(16) + octets[at + 16 :]
    return blank[:at] + hmac.new(SECRET, blank, "md5").digest() + blank[at + 16 :]


def one_input(data: bytes) -> None:
    """The receive path and a reply. Anything but the codec's own refusals is a finding."""
    flags, datagram = data[0] if data else 0, data[1:]
    try:
        request = requests.read_request(datagram)
        assert codec.encode_attributes(request.attributes) == request.octets[20:] == datagram[20 : len(request.octets)]
        if flags & 4 and request.message_authenticator_at is not None:
            request = requests.read_request(signed(request.octets, request.message_authenticator_at))
        requests.verify_request(request, SECRET, required=bool(flags & 1), limit_proxy_state=bool(flags & 2))
        answer(request, requests.read_credentials(request, SECRET))
    except (codec.Unreadable, codec.Unservable):
        return


def answer(request: codec.Packet, asked: requests.Credentials) -> None:
    text = asked.password.decode("utf-8", errors="replace")
    parts = codec.text_attributes(codec.AttributeType.REPLY_MESSAGE, text)
    assert "".join(value.decode() for _, value in parts) == text
    try:
        reply = replies.write_reply(request, codec.PacketCode.ACCESS_CHALLENGE, parts, SECRET)
    except ValueError:
        assert 38 + codec.encoded_size(parts) + sum(len(value) + 2 for value in request.values(33)) > 4096
        return
    attributes = read_reply(Packet(request.octets, SECRET), reply).attributes
    assert [value for type_, value in attributes if type_ == 33] == request.values(33)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
