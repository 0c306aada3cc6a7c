"""The customers' pages and PAM with passwords that a RADIUS server checks: its silence is a clear page, and
AUTHINFO_UNAVAIL; its rejection a wrong password.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_module.frames import ResultCode
from tests.pam.host import login, wait_for
from tests.sekisho import PASSWORD
from tests.upstreams.raw import CALLING_STATION_ID, NAS_IDENTIFIER, REJECT, USER_NAME, RawUpstream, accepts, silent
from tests.upstreams.test_trouble import tables
from tests.web.portal import Portal, PortalClient, portal

PAM = """
[pam]
socket = "{socket}"
[[pam.profiles]]
name = "default"
language = "en"
reject_delay = 0.0
first_factor = "core-passwords"
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as one:
        yield one


@pytest.fixture(scope="module")
def served(upstream: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portal, Path]]:
    folder = tmp_path_factory.mktemp("doors")
    socket = folder / "pam.sock"
    with portal(
        folder,
        more='first_factor = "core-passwords"',
        login=tables(upstream.port, challenges='"refuse"') + PAM.format(socket=socket),
    ) as pages:
        wait_for(socket)
        yield pages, socket


def test_the_pages_ask_the_upstream_and_say_so_when_it_is_silent(
    served: tuple[Portal, Path], upstream: RawUpstream
) -> None:
    pages, _ = served
    one = pages.sekisho.customer(password="", enrolled=False)
    for _ in range(5):
        upstream.answer = silent
        answer = PortalClient(pages).sign_in(one, password=PASSWORD)
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "10"
        assert answer.title.startswith("This is not possible at the moment")
    upstream.answer = lambda asked: [asked.reply(REJECT)]
    assert PortalClient(pages).sign_in(one, password="wrong").wrong != ""
    upstream.answer = accepts
    answer = PortalClient(pages).sign_in(one, password=PASSWORD)
    assert (answer.status, answer.wrong, answer.path) == (200, "", "/enrol/token")
    asked = upstream.logins[-1]
    assert asked.password == PASSWORD.encode()
    assert asked.values(USER_NAME) == [one.contract_id.encode()]
    assert asked.values(NAS_IDENTIFIER) == [b"sekisho"]
    assert asked.values(CALLING_STATION_ID) == [b"127.0.0.1"]


def test_pam_asks_the_upstream_and_its_silence_is_no_refusal(
    served: tuple[Portal, Path], upstream: RawUpstream
) -> None:
    pages, socket = served
    one = pages.sekisho.customer(password="")
    upstream.answer = silent
    assert login(socket, one.contract_id, PASSWORD).code == ResultCode.UNAVAILABLE
    upstream.answer = lambda asked: [asked.reply(REJECT)]
    assert login(socket, one.contract_id, "wrong").code == ResultCode.AUTH_ERR
    upstream.answer = accepts
    went = login(socket, one.contract_id, PASSWORD, one.code())
    assert (went.code, went.roles) == (ResultCode.SUCCESS, ["password", "otp"])


@pytest.mark.parametrize("typed", ["p" * 129, "\N{CJK UNIFIED IDEOGRAPH-6708}" * 43], ids=["129 letters", "129 octets"])
def test_what_radius_cannot_carry_is_a_wrong_password_and_no_outage_that_one_could_type(
    served: tuple[Portal, Path], upstream: RawUpstream, typed: str
) -> None:
    pages, socket = served
    one = pages.sekisho.customer(password="", enrolled=False)
    upstream.answer, before = accepts, len(upstream.logins)
    assert login(socket, one.contract_id, typed).code == ResultCode.AUTH_ERR
    answer = PortalClient(pages).sign_in(one, password=typed)
    assert answer.status == 200 and answer.wrong != ""
    assert len(upstream.logins) == before
