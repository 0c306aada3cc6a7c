"""Gateways' spellings as Debian's radclient sends them: separators, the code first, realms, case, two policies on one
address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.radius.tools import heard, login, oath, radclient, received
from tests.sekisho import PASSWORD, Customer, Sekisho, client_table

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"
COMMA, FIRST, COLON, REALM, NO_REALM, SHARED = (f"127.0.3.{number}" for number in range(1, 7))


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    clients = client_table("comma", COMMA, "append", separator='","')
    clients += client_table("first", FIRST, "append", code_position='"before"')
    clients += client_table("colon", COLON, "auto", separator='":"', code_position='"before"')
    clients += client_table("realm", REALM, "append", realm='"strip"', fold_case="true", cut_at_nul="true")
    clients += client_table("no realm", NO_REALM, "append", realm='"reject"', return_user_name='"always"')
    clients += client_table("staff", SHARED, "code", nas_identifier='"vpn-staff"')
    clients += client_table("customers", SHARED, "append", nas_identifier='"vpn-customers"')
    one = Sekisho(tmp_path_factory.mktemp("spellings"), clients=clients)
    try:
        yield one.start()
        one.stop()
        assert one.traceback() == ""
    finally:
        one.close()


def ask(sekisho: Sekisho, source: str, user: str, user_password: str, more: str = "", wait: float = 3) -> str:
    attributes = f"Packet-Src-IP-Address={source},{login(user, user_password)}{more}"
    return radclient(sekisho.port, attributes, wait=wait)


def verdicts(sekisho: Sekisho, source: str, one: Customer, *texts: str) -> list[str]:
    return [heard(ask(sekisho, source, one.contract_id, text)) for text in texts]


def test_a_separator_stands_between_password_and_code(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    code = oath(one)
    assert verdicts(sekisho, COMMA, one, PASSWORD + code, f"{PASSWORD};{code}", f"{code},{PASSWORD}") == [REJECT] * 3
    assert verdicts(sekisho, COMMA, one, f"{PASSWORD},{code}", f"{PASSWORD},{code}") == [ACCEPT, REJECT]


def test_the_code_may_stand_before_the_password(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    code = oath(one)
    assert verdicts(sekisho, FIRST, one, PASSWORD + code, code, code + PASSWORD) == [REJECT, REJECT, ACCEPT]
    later = one.next_code(code)
    grouped = f"{later[:3]} {later[3:]}{PASSWORD}"
    assert verdicts(sekisho, FIRST, one, grouped) == [ACCEPT]


def test_mode_auto_honours_both_and_asks_whoever_gives_the_password_alone(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    code = oath(one)
    assert verdicts(sekisho, COLON, one, f"{code}{PASSWORD}", PASSWORD) == [REJECT, CHALLENGE]
    assert verdicts(sekisho, COLON, one, f"{code}:{PASSWORD}") == [ACCEPT]


@pytest.mark.parametrize("name", ["BANK\\\\\\\\{}", "{}@bank.example", "BANK\\\\\\\\{}@bank"])
def test_a_realm_is_taken_off_or_refused_as_the_client_has_it(sekisho: Sekisho, name: str) -> None:
    one = sekisho.customer()
    with_realm, both = name.format(one.contract_id), PASSWORD + oath(one)
    assert heard(ask(sekisho, NO_REALM, with_realm, both)) == REJECT
    assert heard(ask(sekisho, COMMA, with_realm, f"{PASSWORD},{oath(one)}")) == REJECT, "kept, so nobody's"
    printed = ask(sekisho, REALM, with_realm, both)
    assert (heard(printed), received(printed, "User-Name")) == (ACCEPT, [one.contract_id])
    plain = ask(sekisho, NO_REALM, one.contract_id, PASSWORD + one.next_code(oath(one)))
    assert (heard(plain), received(plain, "User-Name")) == (ACCEPT, [one.contract_id])


def test_another_case_is_found_where_it_is_said(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    assert heard(ask(sekisho, NO_REALM, one.contract_id.upper(), PASSWORD + oath(one))) == REJECT
    printed = ask(sekisho, REALM, one.contract_id.upper(), PASSWORD + oath(one))
    assert (heard(printed), received(printed, "User-Name")) == (ACCEPT, [one.contract_id])


def test_two_policies_on_one_address_are_told_apart_by_nas_identifier(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    code = oath(one)
    staff, customers = ',NAS-Identifier="vpn-staff"', ',NAS-Identifier="vpn-customers"'
    assert heard(ask(sekisho, SHARED, one.contract_id, code, customers)) == REJECT
    assert heard(ask(sekisho, SHARED, one.contract_id, code, staff)) == ACCEPT
    later = one.next_code(code)
    assert heard(ask(sekisho, SHARED, one.contract_id, PASSWORD + later, customers)) == ACCEPT
    for neither in ("", ',NAS-Identifier="another"'):
        assert heard(ask(sekisho, SHARED, one.contract_id, later, neither, wait=0.5)) == "silence"
    sekisho.wait_for_log("no client of this network has this NAS-Identifier")


def test_a_state_is_ignored_in_a_mode_that_never_asks(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    assert heard(ask(sekisho, COMMA, one.contract_id, f"{PASSWORD},{oath(one)}", ",State=0x0123456789")) == ACCEPT
