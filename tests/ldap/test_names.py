"""Names of accounts: what is typed, and what a DN is."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from otp_core.first_factor.ldap.names import (
    LONGEST_NAME,
    comparable_dn,
    fits_a_bind_name,
    in_dn,
    without_domain,
    without_realm,
)


@pytest.mark.parametrize(
    ("typed", "name", "customer"),
    [
        ("taro", "taro", "taro"),
        ("BANK\\taro", "taro", "taro"),
        ("bank¥taro", "taro", "taro"),
        ("taro@bank.example", "taro@bank.example", "taro"),
        ("BANK\\taro@x", "taro@x", "taro"),
        ("a@b@c", "a@b@c", "a@b"),
        ("Ｋ－０００１", "K-0001", "K-0001"),
        ("OTHER\\taro", None, None),
        ("BANK\\", None, None),
        ("", None, None),
        ("\\taro", None, None),
        ("ta\x07ro", None, None),
        ("x" * (LONGEST_NAME + 1), None, None),
    ],
)
def test_domain_and_realm(typed: str, name: str | None, customer: str | None) -> None:
    assert without_domain(typed, ("Bank",)) == name
    assert name is None or without_realm(name) == customer


@given(some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_whatever_stands_in_a_dn_is_one_value_of_it(value: str) -> None:
    found = comparable_dn(f"uid={in_dn(value)},ou=people,dc=bank")
    assert [[name for name, _ in rdn] for rdn in found] == [["uid"], ["ou"], ["dc"]]
    assert found[0][0][1] == " ".join(value.split()).casefold()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CN=IB-Users,OU=X,DC=bank", "cn=ib-users, ou=x , dc=BANK", True),
        ("cn=a+uid=b,dc=x", "UID=B+CN=a,dc=x", True),
        (r"cn=a\,b,dc=x", r"cn=a\2cb,dc=x", True),
        (r"cn=\e6\9d\b1,dc=x", "cn=東,dc=x", True),
        ("2.5.4.3=a", "oid.2.5.4.3=a", True),
        ("cn=a,dc=x", "cn=a,dc=y", False),
        ("cn=a,dc=x", "cn=a", False),
        (r"cn=a\,dc=x", "cn=a,dc=x", False),
    ],
)
def test_names_that_are_one(one: str, other: str, same: bool) -> None:
    assert (comparable_dn(one) == comparable_dn(other)) is same


@pytest.mark.parametrize("text", ["", "taro", "cn=a,", ",cn=a", "cn=a,,dc=x", "cn=a<b", "cn=a\\", "=a", "x" * 3000])
def test_what_is_no_dn(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no DN|is empty|backslash"):
        comparable_dn(text)


@given(some.text(max_size=60))
def test_nothing_that_a_server_calls_an_entry_is_more_than_an_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        comparable_dn(text)


def test_a_bind_name_that_is_no_dn() -> None:
    assert fits_a_bind_name("taro.yamada") and not any(map(fits_a_bind_name, ["a@b", "a\\b", "a/b", "a\nb", "a,b"]))
