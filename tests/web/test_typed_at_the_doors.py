"""What customers type, at every door: one contract ID and one password, however they are spelt, and never another's."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import pytest

from otp_core.first_factor.hashes import hash_password
from sekisho.wiring import cost_of
from tests.pam.test_dialogue import ACCEPT, FakeBackend, converse
from tests.sekisho import STAFF
from tests.web.portal import Portal, PortalClient, portal

STORED = "123-4567"
TYPED = [
    "123-4567",
    "１２３−４５６７",
    "１２３ー４５６７",
    "123-4567\u200b",
    "123 － 4567",
    "\u3000１２３–４５６７",
    "123\u2011\u20604567",
]
OTHERS = ["1234567", "123 4567", "123--4567", "123_4567", "123-456"]
NFD = unicodedata.normalize("NFD", "Zürich－ガ～")
PASSWORDS = {"Zürich－ガ～": True, NFD: True, "Zürich\u2212ガ\u301c": True, "Zurich－ガ～": False, "Zürich-ガ~": False}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    more = "[throttle]\npassword_free_failures = 100\n"
    with portal(tmp_path_factory.mktemp("typed"), login=more) as one:
        hash_ = hash_password(NFD.encode(), cost_of(one.sekisho.settings))
        one.sekisho.desk.customers.add(STORED, STAFF, password_hash=hash_)
        yield one


@pytest.mark.parametrize("typed", TYPED)
def test_one_customer_however_the_contract_id_is_typed(bank: Portal, typed: str) -> None:
    assert bank.sekisho.login(typed, NFD) == "Access-Accept"
    client = PortalClient(bank)
    assert client.post("/enrol", contract_id=typed, password=NFD, key="").path == "/enrol/token"


@pytest.mark.parametrize("typed", TYPED)
def test_one_user_of_pam_however_the_name_is_typed(typed: str) -> None:
    from pam_module.profiles import Profile

    backend = FakeBackend([ACCEPT])
    converse(Profile(), backend, b"pw", user=typed)
    assert [attempt.customer for attempt in backend.asked] == [STORED]


@pytest.mark.parametrize("typed", OTHERS)
def test_another_contract_id_stays_another(bank: Portal, typed: str) -> None:
    assert bank.sekisho.login(typed, NFD) == "Access-Reject"
    client = PortalClient(bank)
    assert client.post("/enrol", contract_id=typed, password=NFD, key="").path == "/enrol"


@pytest.mark.parametrize(("password", "is_right"), PASSWORDS.items())
def test_one_password_however_it_is_spelt(bank: Portal, password: str, is_right: bool) -> None:
    assert bank.sekisho.login(STORED, password) == ("Access-Accept" if is_right else "Access-Reject")
    client = PortalClient(bank)
    answer = client.post("/enrol", contract_id=STORED, password=password, key="")
    assert answer.path == ("/enrol/token" if is_right else "/enrol")
