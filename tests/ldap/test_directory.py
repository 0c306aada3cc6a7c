"""The first factor of type ldap, against a real slapd: who is let in, who is not, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from otp_core.first_factor import Question
from otp_core.first_factor.ldap.connection import Place, Security
from otp_core.first_factor.ldap.directory import Limits
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Mode, Policy
from tests.ldap.asking import BY_UID, Setup, ask, finding, opened, run, setup_for
from tests.ldap.certificates import Authority
from tests.ldap.slapd import BASE, CUSTOMERS, GROUPS, PASSWORD, PEOPLE, SERVICE, Slapd, dn_of, slapd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


@pytest.mark.parametrize("security", list(Security))
def test_a_right_password_is_right_and_a_wrong_one_is_wrong(server: Slapd, security: Security) -> None:
    setup = setup_for(server, security)
    assert finding(setup, "taro") is None
    assert finding(setup, "taro", "not-it") is Finding.WRONG_PASSWORD


def test_a_name_that_nobody_has_is_an_unknown_customer_and_costs_a_bind_like_any_other(server: Slapd) -> None:
    before = len(server.binds())
    assert finding(setup_for(server), "nobody") is Finding.UNKNOWN_CUSTOMER
    assert len(server.binds()) - before == 2  # the account that searches, and one that nobody has


@pytest.mark.parametrize(
    "password", ["", " ", " \t\n", "　", "\0", "\0" + PASSWORD, PASSWORD + "\0x", "x" * 1025, "\ud800"]
)
def test_a_password_that_a_server_might_take_for_none_is_never_sent(server: Slapd, password: str) -> None:
    before = len(server.binds())
    assert finding(setup_for(server), "taro", password) is Finding.WRONG_PASSWORD
    assert len(server.binds()) == before


def test_one_login_is_one_bind_and_only_the_first_reading_is_tried(server: Slapd) -> None:
    before = len(server.binds(dn_of("taro")))

    async def scene() -> None:
        with opened(setup_for(server)) as directory:
            assert not (await ask(directory, "taro", "himitsu", PASSWORD)).right
            found = await ask(directory, "taro", PASSWORD, "himitsu")
            assert (found.right, found.candidate) == (True, 0)

    run(scene)
    assert len(server.binds(dn_of("taro"))) - before == 2


def test_connections_are_kept_and_each_answer_goes_to_its_own_question(server: Slapd) -> None:
    before = len(server.binds(SERVICE))

    async def scene() -> None:
        with opened(setup_for(server, limits=Limits(connections=3))) as directory:
            right = [ask(directory, uid, PASSWORD) for uid in ("taro", "hanako", "jiro", "shiro")] * 1
            wrong = [ask(directory, uid, "not-it") for uid in ("taro", "hanako", "nobody")]
            found = await asyncio.gather(*right, *wrong)
            assert [one.right for one in found] == [True] * 4 + [False] * 3

    run(scene)
    assert len(server.binds(SERVICE)) - before == 3


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(tmp_path: Path) -> None:
    with slapd(tmp_path) as server:

        async def scene() -> None:
            with opened(setup_for(server)) as directory:
                assert (await ask(directory, "taro", PASSWORD)).right
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                assert (await ask(directory, "taro", PASSWORD)).right

        run(scene)


@pytest.mark.parametrize(
    ("uid", "reason"),
    [
        ("expired", Finding.PASSWORD_EXPIRED),
        ("reset", Finding.PASSWORD_MUST_CHANGE),
        ("locked", Finding.ACCOUNT_LOCKED_THERE),
    ],
)
def test_what_the_password_policy_says_of_a_right_password(server: Slapd, uid: str, reason: Finding) -> None:
    assert finding(setup_for(server), uid) is reason


def test_a_name_is_never_a_part_of_the_filter(server: Slapd) -> None:
    setup = setup_for(server, filter="(uid={user})")
    for name in ("*", "tar*", "taro)(uid=*", "*)(objectClass=*", "taro\\", "\\2a", "(star)", "taro\0"):
        assert finding(setup, name) is Finding.UNKNOWN_CUSTOMER, name
    assert finding(setup, "(star)*") is None


def test_two_accounts_of_one_name_let_nobody_in(server: Slapd, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(server.binds(dn_of("saburo"))) + len(server.binds(dn_of("shiro")))
    assert finding(setup_for(server), "twins@bank.example") is Finding.UNKNOWN_CUSTOMER
    assert len(server.binds(dn_of("saburo"))) + len(server.binds(dn_of("shiro"))) == before
    assert "two accounts have one name" in capsys.readouterr().out


def test_a_referral_is_not_followed(server: Slapd) -> None:
    # The subtree has one, to an address that nobody has: following it would take until the deadline.
    assert finding(setup_for(server, filter="(|(uid={user})(ou={user}))"), "elsewhere") is Finding.UNKNOWN_CUSTOMER
    with pytest.raises(BackendSilent, match=r"10 \(referral, which is not followed\)"):
        finding(setup_for(server, base=f"ou=elsewhere,{BASE}"), "taro")


@pytest.mark.parametrize(
    ("typed", "customer"),
    [
        ("taro", "taro"),
        ("BANK\\taro", "taro"),
        ("bank¥taro", "taro"),
        ("taro@bank.example", "taro"),
        ("ＢＡＮＫ＼ｔａｒｏ", "taro"),
    ],
)
def test_each_way_to_write_a_name_is_one_customer(server: Slapd, typed: str, customer: str) -> None:
    async def scene() -> None:
        with opened(setup_for(server, domains=("Bank",))) as directory:
            deadline = asyncio.get_running_loop().time() + 5
            assert (await directory.account_of(typed, deadline)).customer == customer
            assert (await ask(directory, typed, PASSWORD)).right

    run(scene)


def test_another_domain_is_nobodys(server: Slapd) -> None:
    assert finding(setup_for(server, domains=("BANK",)), "OTHER\\taro") is Finding.UNKNOWN_CUSTOMER
    assert finding(setup_for(server, domains=("BANK",)), "BANK\\taro") is None


def test_the_contract_id_is_the_accounts_attribute(server: Slapd) -> None:
    setup = setup_for(server, customer_attribute="employeeNumber")

    async def scene() -> None:
        with opened(setup) as directory:
            deadline = asyncio.get_running_loop().time() + 5
            for typed in ("taro", "TARO", "taro@bank.example", "BANK\\taro"):
                account = await directory.account_of(typed, deadline)
                assert (account.customer, (account.dn or "").lower()) == ("K-0001", dn_of("taro"))
                assert (await ask(directory, typed, PASSWORD)).right

    run(scene)
    assert finding(setup, "saburo") is Finding.UNKNOWN_CUSTOMER  # has none: an account, and no customer


def test_an_account_of_somebody_else_lets_nobody_in(server: Slapd) -> None:
    async def scene() -> None:
        with opened(setup_for(server, customer_attribute="employeeNumber")) as directory:
            hanako = await directory.account_of("hanako", asyncio.get_running_loop().time() + 5)
            for account in (None, hanako):  # not asked whose name it is; asked about another
                attempt = Attempt("taro", PASSWORD, Policy(Mode.PASSWORD), "gateway", account=account)
                assert (await directory.check(Question(attempt, (PASSWORD,)))).reason is Finding.UNKNOWN_CUSTOMER

    run(scene)


def test_a_dn_template_needs_no_search(server: Slapd) -> None:
    before = len(server.binds(SERVICE))
    setup = setup_for(server, filter="", bind_dn="", template=f"uid={{user}},{PEOPLE}")
    assert finding(setup, "taro") is None
    assert finding(setup, "BANK\\taro", "not-it") is Finding.WRONG_PASSWORD
    assert finding(setup, "strange,na+me") is None
    assert finding(setup, f"taro,{PEOPLE}") is Finding.WRONG_PASSWORD
    assert len(server.binds(SERVICE)) == before


def test_a_name_in_the_place_of_a_dn_stays_one_name(server: Slapd) -> None:
    setup = setup_for(server, filter="", bind_dn="", template="{user}@bank.example")
    before = len(server.binds("taro@other@bank.example"))
    for typed in ("a/taro", "a=b", 'a"b', "a;b"):
        assert finding(setup, typed) is Finding.UNKNOWN_CUSTOMER
    assert len(server.binds("taro@other@bank.example")) == before


@pytest.mark.parametrize(
    ("uid", "groups", "reason"),
    [
        ("taro", (CUSTOMERS,), None),  # through two others
        ("taro", (CUSTOMERS.upper(), f"cn=other,{GROUPS}"), None),
        ("hanako", (f"CN = customers , {GROUPS}",), None),
        ("jiro", (CUSTOMERS,), Finding.NOT_PERMITTED_THERE),  # in a circle of groups
        ("nobody", (CUSTOMERS,), Finding.UNKNOWN_CUSTOMER),
    ],
)
def test_groups_in_groups(server: Slapd, uid: str, groups: tuple[str, ...], reason: Finding | None) -> None:
    before = len(server.binds(dn_of("jiro")))
    assert finding(setup_for(server, groups=groups), uid) is reason
    assert len(server.binds(dn_of("jiro"))) == before, "the password of somebody who may not log in is not tried"


def test_an_account_in_more_groups_than_anybody_looks_at_is_no_answer_and_the_server_is_well(server: Slapd) -> None:
    async def scene() -> None:
        with opened(setup_for(server, groups=(CUSTOMERS,))) as directory:
            with pytest.raises(BackendSilent, match=r"4 \(sizeLimitExceeded\)"):
                await ask(directory, "shiro", PASSWORD)
            assert directory.reachable

    run(scene)


def test_the_account_that_searches_is_refused_once_and_then_left_in_peace(server: Slapd) -> None:
    before = len(server.binds(SERVICE))

    async def scene() -> None:
        with opened(setup_for(server, bind_password="not-the-one")) as directory:
            with pytest.raises(BackendSilent, match=r"refuses bind_dn.*49 \(invalidCredentials\)"):
                await ask(directory, "taro", PASSWORD)
            assert not directory.reachable
            with pytest.raises(BackendSilent, match="every server refused bind_dn"):
                await ask(directory, "taro", PASSWORD)

    run(scene)
    assert len(server.binds(SERVICE)) - before == 1


# TLS


def test_the_certificate_may_name_an_address(server: Slapd) -> None:
    setup = replace(setup_for(server), places=[Place("127.0.0.1", server.tls_port, Security.TLS)])
    assert finding(setup, "taro") is None


@pytest.mark.parametrize("security", [Security.TLS, Security.START_TLS])
@pytest.mark.parametrize("kind", ["another host", "another authority", "expired"])
def test_nothing_is_sent_to_a_server_whose_certificate_is_not_right(
    tmp_path: Path, kind: str, security: Security
) -> None:
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    issued = {
        "another host": lambda: own.issue("a", "dc1.example"),
        "another authority": lambda: other.issue("b", "localhost"),
        "expired": lambda: own.issue("c", "localhost", days=-1),
    }[kind]()
    with slapd(tmp_path, certificate=issued) as server:
        setup = replace(setup_for(server, security), ca_file=own.file)
        with pytest.raises(BackendSilent, match=r"certificate that is not trusted \(.+\): see ca_file"):
            finding(setup, "taro")
        assert server.binds() == []


def test_a_server_without_tls_is_not_asked_in_clear(tmp_path: Path, server: Slapd) -> None:
    setup = replace(setup_for(server), places=[Place("localhost", server.port, Security.TLS)])
    with pytest.raises(BackendSilent, match=r"does it speak TLS|does not speak TLS"):
        finding(setup, "taro")


@pytest.mark.parametrize(("dead_seconds", "comes_back"), [(3600.0, False), (0.1, True)])
def test_the_next_server_is_asked_and_a_dead_one_is_left_out_for_a_while(
    tmp_path: Path, server: Slapd, dead_seconds: float, comes_back: bool
) -> None:
    with slapd(tmp_path) as first:
        first.stop()
        places = [setup_for(first).places[0], setup_for(server).places[0]]

        async def scene() -> None:
            trusted = tmp_path / "both.pem"
            trusted.write_bytes(first.authority.file.read_bytes() + server.authority.file.read_bytes())
            with opened(Setup(places, trusted, dead_seconds=dead_seconds)) as directory:
                assert (await ask(directory, "taro", PASSWORD)).right
                await asyncio.to_thread(first.start)
                await asyncio.sleep(0.15)
                assert (await ask(directory, "taro", PASSWORD)).right
                assert bool(first.binds(dn_of("taro"))) is comes_back

        run(scene)


def test_whoever_wants_to_know_learns_that_it_answers_again_long_before_a_login_would_ask(tmp_path: Path) -> None:
    with slapd(tmp_path) as server:

        async def scene() -> None:
            tasks = len(asyncio.all_tasks())
            with opened(setup_for(server, dead_seconds=3600.0)) as directory:
                await asyncio.to_thread(server.stop)
                with pytest.raises(BackendSilent):
                    await ask(directory, "taro", PASSWORD)
                assert [dead for _, dead in directory.servers()] == [True]
                assert not directory.reachable and len(asyncio.all_tasks()) == tasks + 1
                assert not directory.reachable and len(asyncio.all_tasks()) == tasks + 1  # one look at a time
                await asyncio.to_thread(server.start)
                end = asyncio.get_running_loop().time() + 10
                while not directory.reachable:
                    assert asyncio.get_running_loop().time() < end
                    await asyncio.sleep(0.05)
                assert (await ask(directory, "taro", PASSWORD)).right
                assert [dead for _, dead in directory.servers()] == [False]
                assert (directory.unanswered, sum(directory.seconds.counts)) == (1, 1)

        run(scene)


def test_no_server_at_all_is_silence_and_never_a_wrong_password(tmp_path: Path) -> None:
    with slapd(tmp_path) as server:
        setup = setup_for(server)
    with pytest.raises(BackendSilent, match=r"'directory' gives no answer: localhost:.* refuses connections"):
        finding(setup, "taro")


def test_the_filter_of_active_directory_is_understood_elsewhere_too(server: Slapd) -> None:
    assert finding(setup_for(server, filter="(|(sAMAccountName={user})(userPrincipalName={user}))"), "taro") is (
        Finding.UNKNOWN_CUSTOMER
    )
    assert finding(setup_for(server, filter=BY_UID.replace("uid=", "uid:caseIgnoreMatch:=")), "taro") is None
