"""The first factor of type ldap against an Active Directory (Samba's): names, nested groups, states of accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from otp_core.first_factor.ldap.connection import Place, Security
from otp_core.login.table import Finding
from tests.ldap.asking import Setup, ask, finding, opened, run
from tests.ldap.samba_dc import (
    BASE,
    DOMAIN,
    GROUP,
    PASSWORD,
    SERVICE,
    SERVICE_PASSWORD,
    DomainController,
    domain_controller,
    why_not,
)

pytestmark = [pytest.mark.soak, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DomainController]:
    with domain_controller(tmp_path_factory.mktemp("dc")) as controller:
        yield controller


def setup_for(controller: DomainController, security: Security = Security.TLS, **more: object) -> Setup:
    port = 636 if security is Security.TLS else 389
    values: dict[str, object] = {
        "bind_dn": SERVICE,
        "bind_password": SERVICE_PASSWORD,
        "base": BASE,
        "filter": "(|(sAMAccountName={user})(userPrincipalName={user}))",
        "customer_attribute": "sAMAccountName",
    }
    places = [Place(controller.address, port, security)]
    return Setup(places, controller.authority.file, **{**values, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("security", [Security.TLS, Security.START_TLS])
def test_three_ways_to_write_a_name_are_one_customer(controller: DomainController, security: Security) -> None:
    setup = setup_for(controller, security, domains=(DOMAIN,))

    async def scene() -> None:
        with opened(setup) as directory:
            for typed in ("taro", "TARO", "BANK\\taro", "yamada.taro@bank.example"):
                account = await directory.account_of(typed, asyncio.get_running_loop().time() + 5)
                assert account.customer == "taro"
                assert (await ask(directory, typed, PASSWORD)).right
                assert not (await ask(directory, typed, "not-it")).right
                assert (await ask(directory, "taro", PASSWORD)).right  # so that nothing adds up to a lock there

    run(scene)
    assert finding(setup, "OTHER\\taro", PASSWORD) is Finding.UNKNOWN_CUSTOMER


def test_a_name_of_another_attribute(controller: DomainController) -> None:
    setup = setup_for(controller, customer_attribute="employeeID")

    async def scene() -> None:
        with opened(setup) as directory:
            assert (await directory.account_of("taro", asyncio.get_running_loop().time() + 5)).customer == "K-0001"

    run(scene)
    assert finding(setup, "jiro", PASSWORD) is Finding.UNKNOWN_CUSTOMER


def test_groups_in_groups_by_the_servers_own_rule(controller: DomainController) -> None:
    setup = setup_for(controller, groups=(GROUP,))
    assert finding(setup, "taro", PASSWORD) is None
    assert finding(setup, "jiro", PASSWORD) is Finding.NOT_PERMITTED_THERE


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("taro", "not-it", Finding.WRONG_PASSWORD),
        ("nobody", PASSWORD, Finding.UNKNOWN_CUSTOMER),
        ("disabled", PASSWORD, Finding.ACCOUNT_DISABLED),
        ("gone", PASSWORD, Finding.ACCOUNT_EXPIRED),
        ("reset", PASSWORD, Finding.PASSWORD_MUST_CHANGE),
        ("asleep", PASSWORD, Finding.NOT_PERMITTED_THERE),
    ],
)
def test_the_states_of_an_account(controller: DomainController, name: str, password: str, reason: Finding) -> None:
    assert finding(setup_for(controller), name, password) is reason


def test_a_locked_account_is_told_from_a_wrong_password(controller: DomainController) -> None:
    for _ in range(3):
        assert finding(setup_for(controller), "locked", "not-it") in (
            Finding.WRONG_PASSWORD,
            Finding.ACCOUNT_LOCKED_THERE,
        )
    assert finding(setup_for(controller), "locked", PASSWORD) is Finding.ACCOUNT_LOCKED_THERE


def test_a_template_binds_without_a_search(controller: DomainController) -> None:
    for template in ("{user}@bank.example", f"{DOMAIN}\\{{user}}", f"CN={{user}},CN=Users,{BASE}"):
        setup = setup_for(controller, template=template, filter="", bind_dn="", customer_attribute="")
        assert finding(setup, "jiro", PASSWORD) is None
        assert finding(setup, f"{DOMAIN}\\jiro", PASSWORD) is None


def test_an_empty_password_is_sent_to_nobody(controller: DomainController) -> None:
    assert finding(setup_for(controller), "taro", "") is Finding.WRONG_PASSWORD
