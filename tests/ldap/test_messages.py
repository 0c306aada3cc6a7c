"""LDAP on the wire: what is written, an independent decoder reads; what is read, hypothesis makes up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pyasn1.codec.ber import decoder, encoder
from pyasn1_modules import rfc2251

from otp_core.first_factor.ldap import messages
from otp_core.first_factor.ldap.ber import NotBer, Reader, element_length, number, tlv
from otp_core.first_factor.ldap.filters import parse, present
from otp_core.first_factor.ldap.messages import (
    BindDone,
    Entry,
    ExtendedDone,
    Message,
    PolicyError,
    Result,
    Scope,
    Search,
    SearchDone,
    read,
)
from tests.ldap.peers import bind_answer


def decoded(octets: bytes) -> rfc2251.LDAPMessage:
    message, rest = decoder.decode(octets, asn1Spec=rfc2251.LDAPMessage())
    assert not rest
    return message


@given(some.integers(1, 2**31 - 1), some.text(max_size=300), some.binary(min_size=1, max_size=300))
def test_a_bind_is_what_an_independent_decoder_reads(number: int, dn: str, password: bytes) -> None:
    message = decoded(messages.bind(number, dn, password))
    bind = message["protocolOp"]["bindRequest"]
    assert (int(message["messageID"]), int(bind["version"])) == (number, 3)
    assert (bytes(bind["name"]), bytes(bind["authentication"]["simple"])) == (dn.encode(), password)
    assert bytes(message["controls"][0]["controlType"]) == messages.PASSWORD_POLICY.encode()


def test_a_bind_without_a_password_cannot_even_be_written() -> None:
    with pytest.raises(ValueError, match="proves nothing"):
        messages.bind(1, "cn=taro", b"")


@given(some.text(max_size=300), some.sampled_from(Scope), some.integers(0, 1000), some.integers(0, 100))
def test_a_search_is_what_an_independent_decoder_reads(base: str, scope: Scope, most: int, seconds: int) -> None:
    wanted = Search(base, scope, parse("(uid={user})").octets("tarō"), ("employeeNumber", "mail"), most)
    search = decoded(messages.search(7, wanted, seconds))["protocolOp"]["searchRequest"]
    assert (bytes(search["baseObject"]), int(search["scope"])) == (base.encode(), scope)
    assert (int(search["sizeLimit"]), int(search["timeLimit"]), int(search["derefAliases"])) == (most, seconds, 0)
    assert [bytes(one) for one in search["attributes"]] == [b"employeeNumber", b"mail"]
    found = search["filter"]["equalityMatch"]
    assert (bytes(found["attributeDesc"]), bytes(found["assertionValue"])) == (b"uid", "tarō".encode())


def test_the_other_requests() -> None:
    extended = decoded(messages.start_tls(1))["protocolOp"]["extendedReq"]
    assert bytes(extended["requestName"]) == messages.START_TLS.encode()
    assert messages.unbind(2) == bytes.fromhex("30050201024200")


@given(
    some.integers(0, 2**31 - 1),
    some.sampled_from([0, 1, 10, 32, 49, 53, 80]),
    some.text(some.characters(exclude_categories=["C", "Z"]), max_size=200),
)
def test_what_an_independent_encoder_writes_is_read(number: int, code: int, text: str) -> None:
    for name, kind in (("bindResponse", BindDone), ("searchResDone", SearchDone), ("extendedResp", ExtendedDone)):
        message = rfc2251.LDAPMessage()
        message["messageID"] = number
        answer = message["protocolOp"][name]
        answer["resultCode"], answer["matchedDN"], answer["errorMessage"] = code, "dc=x", text.encode()
        found = read(encoder.encode(message))
        assert found == Message(number, kind(Result(code, text))), name


def test_an_entry_is_read() -> None:
    message = rfc2251.LDAPMessage()
    message["messageID"] = 4
    entry = message["protocolOp"]["searchResEntry"]
    entry["objectName"] = "uid=taro"
    for at, (name, values) in enumerate({"employeeNumber": ["K-1"], "Mail": ["a", "b"], "empty": []}.items()):
        entry["attributes"][at]["type"] = name
        entry["attributes"][at]["vals"].extend(values)
    found = read(encoder.encode(message)).operation
    assert found == Entry("uid=taro", {"employeenumber": (b"K-1",), "mail": (b"a", b"b"), "empty": ()})


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("", None),
        ("3000", None),
        ("3003810100", 0),
        ("3003810101", 1),
        ("3008a003800105810102", 2),
        ("3005a003810103", None),
    ],
)
def test_the_control_of_password_policies(value: str, error: int | None) -> None:
    control = tlv(0x30, tlv(4, messages.PASSWORD_POLICY.encode()), *([tlv(4, bytes.fromhex(value))] if value else []))
    found = read(bind_answer(1, 0, "", tlv(0xA0, control))).operation
    assert found == BindDone(Result(0, "", error, must_change=error == PolicyError.CHANGE_AFTER_RESET))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30",
        bytes.fromhex("3080020101 0000"),  # an indefinite length
        bytes.fromhex("3085000000000102"),  # of five octets
        bytes.fromhex("300c0201016107 0a0100 0400"),  # cut off
        bytes.fromhex("300c0201ff61070a010004000400"),  # a negative number
        bytes.fromhex("300c02010163070a010004000400"),  # a request
        bytes.fromhex("300c02010161070a010004000400ff"),  # something behind it
        bytes.fromhex("300c0201017f610500000000000000"),  # a tag of two octets
        bytes.fromhex("300702010165020500"),
        tlv(0x30, number(1), tlv(0x64, tlv(4, b"\xff\xfe"), tlv(0x30))),  # a DN that is no text
        bind_answer(1, 0, "", tlv(0xA0, *[tlv(0x30, tlv(4, b"%d" % one)) for one in range(17)])),
    ],
)
def test_what_is_no_message_is_said_to_be_none(octets: bytes) -> None:
    with pytest.raises(NotBer):
        read(octets)


def _octets() -> Iterator[some.SearchStrategy[bytes]]:
    yield some.binary(max_size=200)
    yield some.builds(lambda inner: tlv(0x30, number(1), inner), some.binary(max_size=100))
    yield some.builds(lambda body: tlv(0x30, number(1), tlv(0x61, body)), some.binary(max_size=100))
    yield some.builds(lambda body: tlv(0x30, number(1), tlv(0x64, body)), some.binary(max_size=100))
    yield some.builds(lambda body: bind_answer(1, 49, "", tlv(0xA0, body)), some.binary(max_size=100))


@given(some.one_of(*_octets()))
def test_nothing_that_arrives_is_more_than_an_error(octets: bytes) -> None:
    with contextlib.suppress(NotBer):
        assert isinstance(read(octets), Message)
    try:
        length = element_length(octets)
        assert length is None or length >= 2
    except NotBer:
        pass


@given(some.integers(0, 2**63 - 1))
def test_numbers_come_back(value: int) -> None:
    assert Reader(number(value)).number() == value


def test_a_servers_words_are_one_line_without_control_characters() -> None:
    assert messages.printable(b"a\nb\x1b[2Jc\xff" + b"x" * 500 + b"\0")[:12] == "a b [2Jc\ufffdxxx"
    assert len(messages.printable(b"x" * 5000)) == 300
    assert present() == bytes.fromhex("870b6f626a656374436c617373")
