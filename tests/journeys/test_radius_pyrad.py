"""pyrad's client as an independent peer: it verifies every reply, and demands a Message-Authenticator in each."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

import pytest
from pyrad import packet
from pyrad.client import Client, Timeout
from pyrad.dictionary import Dictionary

from otp_core.messages import TEXTS, Text
from otp_core.model import Language
from otp_core.radius.dictionary import standard_dictionary
from tests.radius.tools import oath
from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table

USER_NAME, USER_PASSWORD, REPLY_MESSAGE, STATE, PROXY_STATE, MESSAGE_AUTHENTICATOR = 1, 2, 18, 24, 33, 80
ATTRIBUTES = 'reply_attributes = { "Cisco-AVPair" = "a=b", "Class" = "0x00ff", "Session-Timeout" = 3600 }\n'


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    one = Sekisho(
        tmp_path_factory.mktemp("pyrad"),
        clients=client_table("v4", "127.0.0.1", "challenge") + ATTRIBUTES + client_table("v6", "::1", "append"),
        listen=("127.0.0.1:0", "[::1]:0"),
    )
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def gateway(sekisho: Sekisho) -> Iterator[Any]:
    client = gateway_at("127.0.0.1", sekisho.ports[0])
    yield client
    client._CloseSocket()


def gateway_at(server: str, port: int, secret: str = SECRET) -> Any:
    dictionary = Dictionary(str(standard_dictionary()))
    client = Client(server, authport=port, secret=secret.encode(), dict=dictionary, retries=1, timeout=3)
    client.enforce_ma = True
    return client


def request(client: Any, user: str, user_password: str, state: bytes | None = None, **more: Any) -> Any:
    """Attributes by number: by name pyrad turns octets into others."""
    asked = client.CreateAuthPacket(code=packet.AccessRequest, **more)
    asked[USER_NAME] = [user.encode()]
    asked[USER_PASSWORD] = [asked.PwCrypt(user_password)]
    if state is not None:
        asked[STATE] = [state]
    return asked


def test_both_rounds_verify(sekisho: Sekisho, gateway: Any) -> None:
    one = sekisho.customer()
    first = gateway.SendPacket(request(gateway, one.contract_id, PASSWORD))
    assert first.code == packet.AccessChallenge
    assert first[REPLY_MESSAGE] == [TEXTS[Language.JA, Text.CHALLENGE].encode()]
    (state,) = first[STATE]
    second = gateway.SendPacket(request(gateway, one.contract_id, oath(one), state))
    assert second.code == packet.AccessAccept
    assert second["Cisco-AVPair"] == ["a=b"]
    assert (second[25], second["Session-Timeout"]) == ([b"\0\xff"], [3600])


def test_a_refusal_verifies(sekisho: Sekisho, gateway: Any) -> None:
    reply = gateway.SendPacket(request(gateway, sekisho.customer().contract_id, "x"))
    assert reply.code == packet.AccessReject
    assert reply[REPLY_MESSAGE] == [TEXTS[Language.JA, Text.REJECT].encode()]


@pytest.mark.parametrize("user_password", [PASSWORD, "x"])
def test_every_reply_begins_with_a_signature_that_pyrad_works_out_too(
    sekisho: Sekisho, gateway: Any, user_password: str
) -> None:
    asked = request(gateway, sekisho.customer().contract_id, user_password)
    reply = gateway.SendPacket(asked)
    raw = reply.raw_packet
    assert raw[20:22] == bytes((MESSAGE_AUTHENTICATOR, 18))
    assert reply.verify_message_authenticator(
        secret=SECRET.encode(), original_authenticator=asked.authenticator, original_code=asked.code
    )
    blanked = raw[:4] + asked.authenticator + raw[20:22] + bytes(16) + raw[38:]
    assert raw[22:38] == hmac.new(SECRET.encode(), blanked, "md5").digest()


def test_proxy_states_come_back(sekisho: Sekisho, gateway: Any) -> None:
    asked = request(gateway, sekisho.customer().contract_id, "x")
    asked[PROXY_STATE] = [b"0x41", b"", b"12"]
    assert gateway.SendPacket(asked)[PROXY_STATE] == [b"0x41", b"", b"12"]


def test_password_and_code_in_one_over_ipv6(sekisho: Sekisho) -> None:
    one, client = sekisho.customer(), gateway_at("::1", sekisho.ports[1])
    assert client.SendPacket(request(client, one.contract_id, PASSWORD + oath(one))).code == packet.AccessAccept
    client._CloseSocket()


def test_a_long_password_verifies_block_by_block(sekisho: Sekisho, gateway: Any) -> None:
    long = "と" * 42
    one = sekisho.customer(long, enrolled=False)
    assert gateway.SendPacket(request(gateway, one.contract_id, long)).code == packet.AccessAccept
    assert gateway.SendPacket(request(gateway, one.contract_id, long[:-1])).code == packet.AccessReject


def test_status_server_verifies(gateway: Any) -> None:
    reply = gateway.SendPacket(gateway.CreateAuthPacket(code=packet.StatusServer))
    assert reply.code == packet.AccessAccept


def test_another_secret_and_no_signature_are_silence(sekisho: Sekisho, gateway: Any) -> None:
    stranger = gateway_at("127.0.0.1", sekisho.ports[0], secret="another-secret-altogether")
    stranger.timeout = gateway.timeout = 0.4
    one = sekisho.customer(enrolled=False)
    with pytest.raises(Timeout):
        stranger.SendPacket(request(stranger, one.contract_id, PASSWORD))
    with pytest.raises(Timeout):
        gateway.SendPacket(request(gateway, one.contract_id, PASSWORD, message_authenticator=False))
    stranger._CloseSocket()
