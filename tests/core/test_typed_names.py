"""A password typed into the field of the name, or of the token ID, does not stay in the audit trail; who knows the word
finds its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.accounts import Refused
from otp_core.audit import Event
from tests.core.bank import CODE, STAFF, Bank
from tests.core.entrance import entrance, knows, run

TYPED = "himitsu-no-aikotoba"


def test_a_password_typed_as_token_id_is_not_written_down(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    typed = "HIMITSUNOAIKOTOBA1"
    with pytest.raises(Refused, match=typed):  # staff, who has typed it, reads it
        bank.desk.enrolment.enrol("taro", typed, "123456", STAFF)
    (row,) = bank.audit(event=Event.REFUSED)
    assert (row.customer, row.token) == ("taro", bank.store.sealer.name_fingerprint(typed))
    assert row.reason == "enrol: the token ID or its code is not right"
    assert typed not in repr(bank.audit())
    assert bank.audit(token=typed, token_fingerprint=bank.store.sealer.name_fingerprint(typed)) == [row]


def test_a_mistyped_token_id_stays_legible(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("taro", None)
    with pytest.raises(Refused):
        bank.desk.enrolment.enrol("taro", "VSMT99999999", "123456", STAFF)
    (row,) = bank.audit(event=Event.REFUSED)
    assert row.token == "VSMT99999999"
    assert "VSMT99999999 is not in the inventory" in row.reason


def test_the_rows_of_an_unknown_name_are_found_by_the_name(tmp_path: Path) -> None:
    bank = Bank(tmp_path)

    async def scene() -> None:
        async with entrance(bank, knows()) as door:
            for name in (TYPED, "somebody else", TYPED):
                await door.why(name, "123456", CODE)

    run(scene)
    assert TYPED not in repr(bank.audit())
    fingerprint = bank.store.sealer.name_fingerprint(TYPED)
    assert len(bank.audit(customer=TYPED, customer_fingerprint=fingerprint)) == 2
    assert bank.audit(customer=TYPED) == []
    bank.customer(TYPED, None)
    assert len(bank.audit(customer=TYPED, customer_fingerprint=fingerprint)) == 3, "and those of the customer"


def test_a_fingerprint_is_keyed_and_of_one_form(tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    one, other = Bank(tmp_path).store.sealer, Bank(tmp_path / "another").store.sealer
    made = {one.name_fingerprint(name) for name in ("", "a", "é", "\ud800", "x" * 10_000)}
    assert len(made) == 5
    assert all(len(text) == 21 and text.startswith("name:") for text in made)
    assert one.name_fingerprint("a") == other.name_fingerprint("a"), "banks of the tests share a key"
