"""MS-CHAPv2 is passed on to the RADIUS server that knows the password, and nowhere else. FreeRADIUS is that server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.model import MsChap
from otp_core.radius.codec import Unservable
from otp_core.radius.ms_chap import read_ms_chap, written
from otp_core.radius.requests import read_credentials, read_request
from tests.radius import craft
from tests.radius.tools import heard, login, oath, radclient, received
from tests.sekisho import PASSWORD, Sekisho, client_table
from tests.upstreams.freeradius import ATTRIBUTES, FreeRadius, freeradius, settings_of
from tests.upstreams.ms_chap_peer import Device, device, md4
from tests.upstreams.raw import ACCEPT as RAW_ACCEPT
from tests.upstreams.raw import REJECT as RAW_REJECT
from tests.upstreams.raw import Answer, RawUpstream

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"

RFC_2759 = Device(
    b"User",
    "clientPass",
    bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628"),
    bytes.fromhex("21402324255E262A28295F2B3A337C7E"),
)
"""Section 9.2."""


def test_the_tests_own_device_keeps_to_the_vectors() -> None:
    assert md4(b"").hex() == "31d6cfe0d16ae931b73c59d7e0c089c0"
    assert md4(b"message digest").hex() == "d9130a8164549fe818874806e1c7014b"
    assert RFC_2759.nt_response.hex().upper() == "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"
    assert RFC_2759.success[1:] == b"S=407A5589115FD0D6209F510FE9C04566932CDA56"
    assert RFC_2759.keys[0].hex().upper() == "8B7CDC149B993A1BA118CB153F56DCCB"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("upstream"), attributes=PLAIN) as one:
        yield one


PLAIN = "\n".join(line for line in ATTRIBUTES.splitlines() if "MPPE" not in line)
"""Keys come from its module here."""


@pytest.fixture(scope="module")
def sekisho(upstream: FreeRadius, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    common: dict[str, object] = {"first_factor": '"core-passwords"', "ms_chap": True}
    tables: dict[str, tuple[str, dict[str, object]]] = {
        "password": ("password", common),
        "challenge": ("challenge", common),
        "auto": ("auto", common),
        "relay": ("challenge", {**common, "relay": True}),
        "not-allowed": ("challenge", {"first_factor": '"core-passwords"'}),
    }
    clients = "".join(
        client_table(name, "127.0.0.0/8", mode, nas_identifier=f'"{name}"', **keys)
        for name, (mode, keys) in tables.items()
    )
    relayed = '["Class", "MS-MPPE-Send-Key", "MS-MPPE-Recv-Key"]'
    more = settings_of(upstream.port, relay_attributes=relayed)
    one = Sekisho(tmp_path_factory.mktemp("sekisho"), clients=clients, more=more, workers=2)
    try:
        yield one.start()
    finally:
        one.close()


def ask(sekisho: Sekisho, client: str, one: Device, more: str = "") -> str:
    return radclient(sekisho.port, f'{one.attributes},NAS-Identifier="{client}"{more}')


def has_answer(printed: str, one: Device) -> None:
    """As the device would take it."""
    assert heard(printed) == ACCEPT
    assert received(printed, "MS-CHAP2-Success") == ["0x" + one.success.hex()]
    keys = [received(printed, f"MS-MPPE-{kind}-Key") for kind in ("Send", "Recv")]
    assert keys == [["0x" + key.hex()] for key in one.keys], "each of them once"


def test_a_password_alone(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = device(sekisho.customer(password="").contract_id, PASSWORD)
    has_answer(ask(sekisho, "password", one), one)
    (packet,) = upstream.asked(one.name.decode())
    assert "User-Password" not in packet
    assert packet.count("MS-CHAP2-Response") == packet.count("MS-CHAP-Challenge") == 1


@pytest.mark.parametrize("client", ["challenge", "auto", "relay"])
def test_the_code_is_asked_for_afterwards_and_the_answer_comes_with_it(
    sekisho: Sekisho, upstream: FreeRadius, client: str
) -> None:
    customer = sekisho.customer(password="")
    one = device(customer.contract_id, PASSWORD)
    first = ask(sekisho, client, one)
    assert heard(first) == CHALLENGE
    assert not received(first, "MS-CHAP2-Success"), "not let in yet"
    state = received(first, "State")[0]
    nas = f',NAS-Identifier="{client}"'
    wrong = radclient(sekisho.port, login(customer.contract_id, "000000", state) + nas)
    assert heard(wrong) == CHALLENGE
    second = radclient(sekisho.port, login(customer.contract_id, oath(customer), received(wrong, "State")[0]) + nas)
    has_answer(second, one)
    assert received(second, "Class") == (["0x6f6e65", "0x74776f"] if client == "relay" else [])
    assert len(upstream.asked(customer.contract_id)) == 1


def test_a_wrong_password_is_told_in_the_devices_own_words(sekisho: Sekisho) -> None:
    one = device(sekisho.customer(password="").contract_id, "wrong")
    printed = ask(sekisho, "challenge", one)
    assert heard(printed) == REJECT
    (error,) = received(printed, "MS-CHAP-Error")
    assert re.search(r"E=691 R=0 C=[0-9A-F]{32} V=3 M=", error), error
    assert [row.reason for row in sekisho.audit(one.name.decode(), "login.")] == ["wrong password"]


def test_an_empty_password_is_refused_and_nobody_is_asked(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = device(sekisho.customer(password="").contract_id, "")
    assert heard(ask(sekisho, "password", one)) == REJECT
    assert upstream.asked(one.name.decode()) == []
    assert [row.reason for row in sekisho.audit(one.name.decode(), "login.")] == ["wrong password"]


def test_a_client_that_may_not_is_refused_without_an_attempt_and_the_log_names_its_key(
    sekisho: Sekisho, upstream: FreeRadius
) -> None:
    one = device(sekisho.customer(password="").contract_id, PASSWORD)
    assert heard(ask(sekisho, "not-allowed", one)) == REJECT
    sekisho.wait_for_log("let the client use PAP, or set ms_chap = true")
    assert sekisho.audit(one.name.decode(), "login.") == []
    assert upstream.asked(one.name.decode()) == []


def test_a_code_as_ms_chap_is_refused_and_the_log_says_why(sekisho: Sekisho) -> None:
    customer = sekisho.customer(password="")
    first = ask(sekisho, "challenge", device(customer.contract_id, PASSWORD))
    state = received(first, "State")[0]
    answer = device(customer.contract_id, oath(customer))
    assert heard(ask(sekisho, "challenge", answer, f",State={state}")) == REJECT
    sekisho.wait_for_log("let the client send codes as PAP")
    assert [row.event for row in sekisho.audit(customer.contract_id, "login.")] == ["login.challenged"]


def test_a_right_pap_password_does_not_take_another_answer_along(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = device(sekisho.customer(password="").contract_id, PASSWORD)
    assert heard(ask(sekisho, "password", one, f',User-Password="{PASSWORD}"')) == REJECT
    assert upstream.asked(one.name.decode()) == []


# An upstream that is none


def served(folder: Path, port: int, **keys: object) -> Sekisho:
    clients = client_table("gw", "127.0.0.0/8", "password", first_factor='"core-passwords"', ms_chap=True, **keys)
    return Sekisho(folder, clients=clients, more=settings_of(port)).start()


def refusing(number: int) -> Answer:
    return lambda asked: [asked.reply(RAW_REJECT, error(number))]


def error(number: int) -> tuple[int, bytes]:
    text = b"\7E=%d R=0 C=00 V=3 M=no" % number
    return 26, b"\0\0\x01\x37" + bytes((2, len(text) + 2)) + text


def test_an_acceptance_without_a_proof_is_silence_and_the_accounts_trouble_is_told_apart(tmp_path: Path) -> None:
    with RawUpstream() as raw:
        sekisho = served(tmp_path, raw.port, explain_password_problems=True)
        try:
            customers = [sekisho.customer(password="") for _ in range(3)]
            raw.answer = lambda asked: [asked.reply(RAW_ACCEPT)]
            assert heard(ask(sekisho, "gw", device(customers[0].contract_id, PASSWORD))) == "silence"
            sekisho.wait_for_log("accepts MS-CHAPv2 without MS-CHAP2-Success")
            for customer, number, reason in zip(
                customers[1:], (648, 647), ("password expired", "account disabled"), strict=True
            ):
                raw.answer = refusing(number)
                printed = ask(sekisho, "gw", device(customer.contract_id, PASSWORD))
                assert f"E={number} " in received(printed, "MS-CHAP-Error")[0]
                (row,) = sekisho.audit(customer.contract_id, "login.")
                assert reason in row.reason
        finally:
            sekisho.close()


# Octets

ASKED, ANSWER = craft.vendor(311, 11, bytes(16)), craft.vendor(311, 25, bytes(50))


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ([craft.vendor(311, 1, bytes(50))], "version 2"),
        ([ANSWER], "not one MS-CHAP-Challenge"),
        ([ASKED, ANSWER, ANSWER], "not one MS-CHAP-Challenge"),
        ([craft.vendor(311, 11, bytes(8)), ANSWER], "not 16 octets"),
        ([ASKED, craft.vendor(311, 25, bytes(49))], "not 50"),
        ([ASKED, ANSWER, craft.vendor(311, 27, b"a new password")], "not one MS-CHAP-Challenge"),
        ([ASKED, ANSWER, craft.attribute(3, bytes(17))], "another credential"),
    ],
)
def test_what_is_no_ms_chap_2_is_refused_in_words(attributes: list[bytes], said: str) -> None:
    packet = read_request(craft.packet(craft.attribute(1, b"taro"), *attributes))
    with pytest.raises(Unservable, match=said):
        read_ms_chap(packet)


def test_one_vendor_specific_may_hold_both_and_what_else_is_in_it_goes_along() -> None:
    parts = b"".join(bytes((type_, len(value) + 2)) + value for type_, value in ((11, bytes(16)), (25, b"\7" * 50)))
    whole = craft.attribute(26, (311).to_bytes(4, "big") + parts + bytes((13, 3)) + b"x")
    packet = read_request(craft.packet(craft.attribute(1, b"taro"), whole))
    found = read_ms_chap(packet).ms_chap
    assert (found.challenge, found.response) == (bytes(16), b"\7" * 50)
    assert [len(value) for _, value in written(found)] == [22, 56]
    with pytest.raises(Unservable, match="MS-CHAP"):
        read_credentials(packet, b"")
    assert repr(found) == repr(MsChap(b"", b"")) == "MsChap(...)"
