"""Filters: a real slapd says back what it was asked, and a name in a filter stays a name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from otp_core.first_factor.ldap.filters import LONGEST_FILTER, BadFilter, equals_any, member_in_chain, parse
from otp_core.first_factor.ldap.messages import Scope, Search
from otp_core.first_factor.ldap.servers import Servers
from tests.ldap.asking import run, setup_for
from tests.ldap.peers import elements
from tests.ldap.slapd import BASE, Slapd, slapd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


ASKED = [
    # RFC 4515 §4
    "(cn=Babs Jensen)",
    "(!(cn=Tim Howes))",
    "(&(objectClass=person)(|(sn=Jensen)(cn=Babs J*)))",
    "(o=univ*of*mich*)",
    "(seeAlso=*)",
    "(cn:caseExactMatch:=Fred Flintstone)",
    "(sn:dn:2.5.13.5:=Barney Rubble)",
    "(o:dn:=Ace Industry)",
    "(:caseExactMatch:=Dino)",
    "(:dn:2.5.13.5:=Dino)",
    r"(cn=*\2A*)",
    r"(cn=Parens R Us \28for all your parenthetical needs\29)",
    r"(cn=C:\5cMyFile)",
    "(cn=J)",
    "(uidNumber>=5)",
    "(uidNumber<=5)",
    "(cn~=J)",
    "(cn;lang-ja=J)",
    "(|(cn=a)(cn=b)(cn=c))",
]


def test_a_real_server_reads_what_was_written(server: Slapd) -> None:
    async def scene() -> None:
        directory = setup_for(server).make()
        servers: Servers = directory._servers
        [one] = servers.in_order()
        connection = await servers.connection(one, searches=True)
        for text in ASKED:
            await connection.search(Search(BASE, Scope.BASE, parse(text).octets()), 5)
        servers.give_back(one, connection, searches=True)
        directory.close()

    run(scene)
    server.settle()
    log = server.log.read_text().lower()
    for text in ASKED:
        assert f'filter="{text}"'.lower() in log, text


@given(some.text(max_size=60))
def test_a_name_is_one_value_whatever_it_is(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    filter_ = parse("(&(uid={user})(mail=x-{user}@bank.example)(cn=*{user}*))")
    [(tag, found)] = elements(filter_.octets(name))
    equal, composed, substrings = (elements(value) for _, value in elements(found))
    user = name.encode()
    assert (tag, equal[1], composed[1]) == (0xA0, (4, user), (4, b"x-" + user + b"@bank.example"))
    assert elements(substrings[1][1]) == [(0x81, user)]


def test_filters_of_our_own() -> None:
    assert equals_any(["member"], ["cn=a"]) == parse("(|(member=cn=a))").octets()
    assert member_in_chain(["cn=a"]) == parse("(|(memberOf:1.2.840.113556.1.4.1941:=cn=a))").octets()
    assert parse("(uid={user})").names_user and not parse("(uid=x)").names_user


@pytest.mark.parametrize(
    ("text", "ties"),
    [
        ("(uid={user})", True),
        ("(|(uid={user})(mail={user}@bank.example))", True),
        ("(&(objectClass=person)(uid={user})(!(memberOf=cn=gone)))", True),
        ("(&(|(uid={user})(&(cn={user})(ou=x)))(objectClass=person))", True),
        ("(cn:caseExactMatch:={user})", True),
        ("(|(uid={user})(objectClass=person))", False),
        ("(!(uid={user}))", False),
        ("(&(objectClass=person)(!(uid={user})))", False),
        ("(uid>={user})", False),
        ("(&(uid=x)(cn<={user}))", False),
        ("(|(&(uid={user})(ou=x))(ou=y))", False),
    ],
)
def test_whether_whatever_a_filter_fits_has_the_name(text: str, ties: bool) -> None:
    assert parse(text).ties_to_user is ties


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"lacks a \("),
        ("uid={user}", r"lacks a \("),
        ("(uid={user}", r"bracket that is not closed"),
        ("((uid={user}))", r"needs an attribute and ="),
        ("(&)", r"no filter behind it, at character 3"),
        ("(&(uid={user})", r"lacks a \)"),
        ("(uid={user}))", r"goes on behind its end, at character 13"),
        ("(uid={user})(cn=x)", r"goes on behind its end"),
        ("(uid{user})", r"needs an attribute and ="),
        ("(=x)", r"needs an attribute and ="),
        ("(uid=a(b)", r"not closed"),
        (r"(uid=\2)", r"two hexadecimal digits"),
        (r"(uid=\{user})", r"two hexadecimal digits"),
        ("(uid=a**b)", r"two stars"),
        ("(uid>=a*)", r"star where none can be"),
        ("(cn:dn:=a*)", r"star where none can be"),
        ("(uid={name})", r"holds \{name\}: only \{user\}"),
        ("(uid=\0)", r"NUL"),
        ("(" * 20 + "uid=x" + ")" * 20, r"needs an attribute"),
        ("(!" * 20 + "(uid=x)" + ")" * 20, r"nested deeper than 16"),
        ("(uid=" + "x" * LONGEST_FILTER + ")", r"longer than"),
        ("(u_id=x)", r"needs an attribute and ="),
    ],
)
def test_what_is_no_filter_is_said_to_be_none_and_where(text: str, why: str) -> None:
    with pytest.raises(BadFilter, match=why):
        parse(text)


@given(some.text(alphabet="()&|!=*\\:<>~a0 {}", max_size=40))
def test_nothing_that_is_written_is_more_than_an_error(text: str) -> None:
    with contextlib.suppress(BadFilter):
        parse(text)
