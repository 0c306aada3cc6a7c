"""API keys at the desk: shown once, kept as a digest, recognised until they are revoked."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from otp_core.accounts import Refusal
from otp_core.accounts.api_keys import MOST_KEYS, MOST_NETWORKS
from otp_core.model import Scope
from otp_core.store.acts import enter_again, is_entered
from otp_core.store.api_keys import api_keys
from tests.core.at_the_desk import refused
from tests.core.bank import STAFF, Bank

READ, WRITE = Scope.CUSTOMERS_READ, Scope.CUSTOMERS_WRITE


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_a_key_is_recognised_until_it_is_revoked(bank: Bank) -> None:
    made = bank.desk.api_keys.create("crm", [WRITE, READ], STAFF, networks=[ip_network("10.1.2.0/24")])
    found = bank.desk.api_keys.of_secret(made.secret)
    assert found == made.record
    assert (found.name, sorted(found.scopes), found.networks) == ("crm", [READ, WRITE], ("10.1.2.0/24",))
    bank.desk.api_keys.revoke("crm", STAFF)
    assert bank.desk.api_keys.of_secret(made.secret) is None
    assert "no API key crm" in str(refused(lambda: bank.desk.api_keys.revoke("crm", STAFF)))


def test_neither_store_nor_audit_trail_holds_a_key(bank: Bank) -> None:
    made = bank.desk.api_keys.create("crm", [READ], STAFF)
    secret = made.secret.removeprefix("sekisho_")
    assert len(secret) == 43 and secret not in repr(made)
    assert secret not in repr(bank.rows()) + repr(bank.audit())
    assert secret.encode() not in b"".join(one.read_bytes() for one in bank.folder.glob("bank.db*"))


@pytest.mark.parametrize("other", ["", "sekisho_", "x" * 43, "é" * 50, "\ud800", "x" * 1_000_000])
def test_what_is_no_key_is_nobodys(bank: Bank, other: str) -> None:
    made = bank.desk.api_keys.create("crm", [READ], STAFF)
    for text in (other, made.secret[:-1], made.secret + "A", made.secret.swapcase()):
        assert bank.desk.api_keys.of_secret(text) is None


def test_the_trail_says_what_a_key_is_for_and_where_it_may_come_from(bank: Bank) -> None:
    bank.desk.api_keys.create("crm", [WRITE, READ], STAFF, networks=[ip_network("10.1.2.0/24")])
    bank.desk.api_keys.revoke("crm", STAFF)
    made, revoked = bank.audit(event="api-key.")
    assert (made.event, made.actor, made.source) == ("api-key.created", "staff", "192.0.2.1")
    assert made.reason == "crm: customers:read customers:write from 10.1.2.0/24, ticket 7"
    assert (revoked.event, revoked.reason) == ("api-key.revoked", "crm: ticket 7")


@pytest.mark.parametrize("name", ["", "call centre", "-crm", "k" * 33, "crm\n", "窓口", "a/b", "a:b"])
def test_a_name_is_one_plain_word(bank: Bank, name: str) -> None:
    assert refused(lambda: bank.desk.api_keys.create(name, [READ], STAFF)).refusal is Refusal.NOT_NOW
    assert bank.rows()["api_key"] == []


def test_a_name_is_one_keys_until_that_is_revoked(bank: Bank) -> None:
    first = bank.desk.api_keys.create("crm", [READ], STAFF)
    assert "an API key crm already" in str(refused(lambda: bank.desk.api_keys.create("crm", [READ], STAFF)))
    bank.desk.api_keys.revoke("crm", STAFF)
    second = bank.desk.api_keys.create("crm", [READ], STAFF)
    assert bank.desk.api_keys.of_secret(first.secret) is None
    assert bank.desk.api_keys.of_secret(second.secret) == second.record


def test_a_key_without_a_scope_and_too_many_networks_are_refused(bank: Bank) -> None:
    assert "without a scope" in str(refused(lambda: bank.desk.api_keys.create("crm", [], STAFF)))
    many = [ip_network(f"10.0.{number}.0/24") for number in range(MOST_NETWORKS + 1)]
    one_too_many = refused(lambda: bank.desk.api_keys.create("crm", [READ], STAFF, networks=many))
    assert one_too_many.refusal is Refusal.TOO_MANY
    assert bank.desk.api_keys.create("crm", [READ], STAFF, networks=many[1:]).record.networks == tuple(
        map(str, many[1:])
    )


def test_there_are_so_many_keys_and_no_more(bank: Bank) -> None:
    for number in range(MOST_KEYS):
        bank.desk.api_keys.create(f"crm-{number}", [READ], STAFF)
    one_too_many = refused(lambda: bank.desk.api_keys.create("one-more", [READ], STAFF))
    assert one_too_many.refusal is Refusal.TOO_MANY and "revoke one" in str(one_too_many)
    bank.desk.api_keys.revoke("crm-7", STAFF)
    bank.desk.api_keys.create("one-more", [READ], STAFF)
    with bank.store.read() as connection:
        assert len(api_keys(connection)) == MOST_KEYS


def test_a_restore_tells_of_keys_that_were_revoked_or_made_since(bank: Bank) -> None:
    bank.desk.api_keys.create("crm", [READ], STAFF)
    bank.desk.api_keys.revoke("crm", STAFF)
    assert bank.store.acts is not None
    made, revoked = bank.store.acts.known()
    assert enter_again(made) == "sekisho api-key create crm --scope SCOPE"
    assert enter_again(revoked) == "sekisho api-key revoke crm"
    assert is_entered(revoked, [("api-key.revoked", None, None, "crm: again")])
    assert not is_entered(revoked, [("api-key.revoked", None, None, "vpn: again")])


def test_the_reader_of_the_api_finds_what_the_desk_finds(bank: Bank) -> None:
    """On one connection that stays open: what was made or revoked since is seen at once."""
    reader = bank.store.key_reader()
    try:
        made = bank.desk.api_keys.create("crm", [WRITE, READ], STAFF, networks=[ip_network("10.1.2.0/24")])
        digest = bank.desk.api_keys.digest_of(made.secret)
        assert digest is not None and reader.api_key_of(digest) == made.record
        assert reader.api_key_of(bytes(32)) is None
        bank.desk.api_keys.revoke("crm", STAFF)
        assert reader.api_key_of(digest) is None
    finally:
        reader.close()
    assert bank.desk.api_keys.digest_of("x" * 129) is None
