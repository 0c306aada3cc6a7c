"""The codec against the table of hostile packets: each is dropped, refused or read as the table says."""

from __future__ import annotations

import unicodedata

import pytest

from otp_core.radius.codec import DropReason, PacketCode, Unreadable, Unservable
from otp_core.radius.requests import read_credentials, read_request, verify_request
from tests.radius.craft import SECRET
from tests.radius.hostile import ASKS, CASES, LENIENT, NAME, OPEN, PASSWORD, STRANGER, STRICT, TOKEN_NAME, Case

OF_CLIENTS = [case for case in CASES if case.source != STRANGER]
REQUIRED = {STRICT: True, ASKS: True, LENIENT: False, OPEN: False}


def outcome(case: Case) -> str:
    """What the codec makes of it: the reason for a drop, ``refused``, ``status``, or ``read``."""
    try:
        request = read_request(case.octets)
        verify_request(request, SECRET, required=REQUIRED[case.source], limit_proxy_state=case.source != OPEN)
    except Unreadable as error:
        return error.reason.value
    if request.code == PacketCode.STATUS_SERVER:
        return "status"
    try:
        read_credentials(request, SECRET)
    except Unservable:
        return "refused"
    return "read"


@pytest.mark.parametrize("case", OF_CLIENTS, ids=lambda case: case.name)
def test_hostile_packet(case: Case) -> None:
    if case.expected == "S":
        assert outcome(case) == case.reason
    elif case.expected == "R":
        assert outcome(case) == ("read" if case.core else "refused")
    else:
        assert outcome(case) in ("read", "status")


LOGINS = [case for case in OF_CLIENTS if case.expected in "AC" and case.octets[0] == PacketCode.ACCESS_REQUEST]


@pytest.mark.parametrize("case", LOGINS, ids=lambda case: case.name)
def test_noise_around_a_login_changes_nothing_of_it(case: Case) -> None:
    asked = read_credentials(read_request(case.octets), SECRET)
    assert unicodedata.normalize("NFKC", asked.user_name.decode()).strip() in (NAME, TOKEN_NAME)
    assert asked.password == PASSWORD.encode()
    assert asked.state is None


def test_the_table_is_large_and_knows_every_drop_reason() -> None:
    assert len(CASES) >= 200
    assert {case.reason for case in CASES if case.source != STRANGER} - {""} == {reason.value for reason in DropReason}
    assert {case.expected for case in CASES} == set("SRAC")
