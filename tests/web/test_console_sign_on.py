"""Staff signs in at an OpenID provider, a real one in its own process; and what a provider may lie about lets nobody
in."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from admin_web.console.oidc.provider import Provider, ProviderSilent
from otp_core.checks import CheckState
from otp_core.model import Role
from sekisho.cli.doctor_sign_on import examine_sign_on
from tests.core.settings_files import STORE, good
from tests.ldap.certificates import Authority
from tests.sekisho import STAFF
from tests.web.console import Console, console
from tests.web.oidc_provider import SECRET
from tests.web.sign_on import RunningProvider, gone_to, led_on, link, path_of, provider, sent_on, sign_on


@pytest.fixture(scope="module")
def at() -> Iterator[RunningProvider]:
    with provider() as running:
        yield running


ROLES = (
    'roles_claim = "realm_access.roles"\nroles = { counter = "operator", chief = "administrator", look = "auditor" }'
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, at: RunningProvider) -> Iterator[Console]:
    """With the supervisor and the auditor linked, as boss and as viewer."""
    folder = tmp_path_factory.mktemp("console")
    more = 'trusted_proxies = ["127.0.0.0/8"]'
    with console(folder, more=more, other=at.tables(folder, ROLES)) as running:
        at.lie()
        for role, subject in ((Role.SUPERVISOR, "boss"), (Role.AUDITOR, "viewer")):
            answer = link(running.client(role), running, at, subject)
            assert f"Linked: {subject}@bank.example." in answer.text
        yield running


@pytest.fixture(autouse=True)
def honest(at: RunningProvider) -> None:
    at.lie()
    at.cookies.clear()


def refused(bank: Console) -> str:
    """What the audit trail says last of a sign-in that was refused."""
    return [row.reason for row in bank.sekisho.audit() if row.event == "staff.refused"][-1]


def acts_refused(bank: Console) -> str:
    """The same of an act."""
    return [row.reason for row in bank.sekisho.audit() if row.event == "act.refused"][-1]


def test_who_is_linked_signs_in_as_the_least_of_both_roles(bank: Console, at: RunningProvider) -> None:
    """The supervisor is at the counter, says the provider; the auditor is chief, says the provider."""
    client = bank.client()
    assert sign_on(client, bank, at, "boss", "/me").title.startswith("Your sign-in")
    assert "operator" in client.get("/me").text and "kept here is: supervisor" in client.get("/me").text
    assert client.ask("GET", "/staff/auditor", None).status == 403
    at.lie(realm_access={"roles": ["chief", "counter"]})
    assert sign_on(client, bank, at, "boss", "/me").status == 200
    assert "supervisor" in client.get("/me").text and "kept here is" not in client.at.text  # type: ignore[union-attr]
    sign_on(client, bank, at, "viewer")
    text = client.get("/me").text
    assert "viewer@bank.example" in text and "administrator" not in text
    assert "staff.entered" in [row.event for row in bank.sekisho.audit() if row.actor == "auditor"]
    entered = [row for row in bank.sekisho.audit() if row.event == "staff.entered"]
    assert entered[-1].reason == f"single sign-on at {at.issuer} as administrator"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_algorithm_that_counts_is_verified(bank: Console, at: RunningProvider, algorithm: str) -> None:
    at.lie(algorithm=algorithm)
    client = bank.client()
    assert sign_on(client, bank, at, "boss").title.startswith("Find a customer"), refused(bank)


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "nonce": ({"nonce": "another"}, "made for another request (nonce)"),
    "no-nonce": ({"nonce": None}, "made for another request (nonce)"),
    "audience": ({"aud": "another client"}, "for another client (aud)"),
    "no-audience": ({"aud": None}, "for another client (aud)"),
    "audiences": ({"aud": ["sekisho console", "another"]}, "does not say who asked (azp)"),
    "asked-by-another": ({"azp": "another"}, "another client has asked for the token (azp)"),
    "issuer": ({"iss": "https://elsewhere.example"}, "of another issuer"),
    "issuer-with-a-slash": ({"iss": "/"}, "of another issuer"),
    "expired": ({"exp": int(time.time()) - 60}, "has expired"),
    "endless": ({"exp": None}, "says no time in exp"),
    "endless-number": ({"exp": 1e400}, "says no time in exp"),
    "expiry-as-text": ({"exp": "9999999999"}, "says no time in exp"),
    "huge-number": ({"exp": 10**400}, "says no time in exp"),
    "old": ({"iat": int(time.time()) - 600}, "not made for this request"),
    "of-tomorrow": ({"iat": int(time.time()) + 86_400}, "not made for this request"),
    "not-yet": ({"nbf": int(time.time()) + 86_400}, "not good yet"),
    "other-access-token": ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "another access token (at_hash)"),
    "nobody": ({"sub": None}, "names nobody (sub)"),
    "long-name": ({"sub": "x" * 256}, "names nobody (sub)"),
    "two-lines": ({"sub": "boss\nline"}, "names nobody (sub)"),
}
"""Claims, and what log and audit trail say. Times are of the import: a whole run takes half an hour."""


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_lies_lets_nobody_in(bank: Console, at: RunningProvider, lie: str) -> None:
    claims, cause = LIES[lie]
    at.lie(**claims)
    refused_with(bank, at, cause)


FORGED = {
    "none": ("", "none", "not signed by an algorithm that counts"),
    "public key as secret": ("", "HS256", "not signed by an algorithm that counts"),
    "another's key": ("other-key", "RS256", "signature is wrong"),
    "unknown key": ("unknown-key", "RS256", "has no key for this token"),
    "no token": ("no-id-token", "RS256", "gives no ID token"),
    "mix-up": ("mix-up", "RS256", "of another provider (iss)"),
    "says not who it is": ("no-iss", "RS256", "which this provider always says (iss)"),
    "another state": ("state", "RS256", "another request (state)"),
}


@pytest.mark.parametrize("lie", FORGED)
def test_a_forged_or_mixed_up_answer_lets_nobody_in(bank: Console, at: RunningProvider, lie: str) -> None:
    mode, algorithm, cause = FORGED[lie]
    at.lie(mode, algorithm)
    asked = refused_with(bank, at, cause)
    if mode in ("mix-up", "no-iss", "state"):
        assert "/token" not in asked, "a code that is not for us is sent to nobody"


def refused_with(bank: Console, at: RunningProvider, cause: str) -> list[str]:
    """What the provider was asked meanwhile."""
    client = bank.client()
    answer = sign_on(client, bank, at, "boss", "/me")
    assert answer.wrong.startswith("The single sign-on was not accepted.")
    assert "console" not in client.cookies and answer.title.endswith("Sign in to the console - Console")
    assert refused(bank).startswith("single sign-on: ") and cause in refused(bank)
    log = bank.sekisho.wait_for_log(cause)
    assert "single sign-on refused" in log
    asked = at.lie()
    assert sign_on(client, bank, at, "boss").title.startswith("Find a customer"), "the next, honest one"
    return asked


SILENT = {
    "slow": "gives no answer within 1 s",
    "metadata-issuer": "calls itself 'https://elsewhere.example'",
    "plain-keys": "jwks_uri is no https address",
    "no-host": "jwks_uri is no https address",
}
AT_THE_KEYS = {
    "huge-keys": "answers with more than 262144 octets",
    "many-keys": "no list of at most 100",
    "private-keys": "publishes a private key",
    "redirected-keys": "HTTP status 302",
    "html-keys": "no JSON object",
    "nested-keys": "no JSON object",
    "huge-token": "answers with more than 262144 octets",
}


@pytest.mark.parametrize("lie", [*SILENT, *AT_THE_KEYS])
def test_a_provider_that_is_silent_or_talks_nonsense_leaves_the_other_ways_in(
    tmp_path_factory: pytest.TempPathFactory, bank: Console, at: RunningProvider, lie: str
) -> None:
    """A server of its own: what is known of a provider is kept for an hour."""
    folder = tmp_path_factory.mktemp(lie)
    with console(folder, other=at.tables(folder, "timeout = 1.0" if lie == "slow" else "")) as fresh:
        at.lie(lie)
        client, begun = fresh.client(), time.monotonic()
        if lie in SILENT:
            page = client.get("/sign-in/oidc", Sec_Fetch_Site="same-origin")
        else:
            page = sign_on(client, fresh, at, "boss")
        assert time.monotonic() - begun < 10
        assert page.wrong.startswith("The provider of the single sign-on does not answer."), page.text
        fresh.sekisho.wait_for_log({**SILENT, **AT_THE_KEYS}[lie])
        assert client.get("/sign-in/oidc", Sec_Fetch_Site="same-origin").wrong or lie not in SILENT
        assert SECRET not in fresh.log()
        at.lie()
        assert client.sign_in_as(Role.OPERATOR).status == 200


def test_a_silent_provider_is_not_asked_by_every_click(
    tmp_path_factory: pytest.TempPathFactory, at: RunningProvider
) -> None:
    folder = tmp_path_factory.mktemp("clicks")
    with console(folder, other=at.tables(folder, "timeout = 1.0")) as fresh:
        at.lie("slow")
        for _ in range(4):
            assert fresh.client().get("/sign-in/oidc", Sec_Fetch_Site="same-origin").wrong
        assert at.lie() == ["/.well-known/openid-configuration"]


def test_keys_are_asked_for_once_and_an_invented_key_does_not_make_more(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    sign_on(client, bank, at, "boss")
    at.lie("unknown-key")
    for _ in range(3):
        sign_on(client, bank, at, "boss")
    assert at.lie().count("/keys") <= 1


def test_an_answer_is_good_once(bank: Console, at: RunningProvider) -> None:
    """Also where a provider forgets which codes were used, and the browser kept its request."""
    at.lie("forgetful")
    client = bank.client()
    back = at.sign_in(gone_to(client, "/sign-in/oidc?to=/"), "boss")
    kept = dict(client.cookies)
    assert led_on(client, bank, back).title.startswith("Find a customer")
    thief = bank.client()
    thief.cookies.update(kept)
    assert led_on(thief, bank, back).wrong.startswith("The single sign-on was not accepted.")
    assert "this answer of the provider, or a later one, was used before" in refused(bank)
    assert "console" not in thief.cookies
    at.lie()
    client = bank.client()
    back = at.sign_in(gone_to(client, "/sign-in/oidc?to=/"), "boss")
    kept = dict(client.cookies)
    led_on(client, bank, back)
    thief.cookies.update(kept)
    led_on(thief, bank, back)
    assert "does not take the code: used before" in refused(bank)


def test_an_answer_is_for_the_browser_that_asked(bank: Console, at: RunningProvider) -> None:
    """Login CSRF: the answer to somebody else's request, in a browser that has none, or one of its own."""
    attacker, victim = bank.client(), bank.client()
    back = at.sign_in(gone_to(attacker, "/sign-in/oidc?to=/"), "viewer")
    assert led_on(victim, bank, back).headers["Location"] == "/sign-in?why=sign-on-lost"
    gone_to(victim, "/sign-in/oidc?to=/")
    assert led_on(victim, bank, back).wrong.startswith("The single sign-on was not accepted.")
    assert "(state)" in refused(bank) and "console" not in victim.cookies


def test_another_site_begins_no_sign_in_and_sends_no_answer(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    answer = client.ask("GET", "/sign-in/oidc?to=/me", None, Sec_Fetch_Site="cross-site")
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?to=/me")
    back = path_of(at.sign_in(gone_to(client, "/sign-in/oidc"), "boss"), bank)
    answer = client.get(back.replace("/return", "/finish"), Sec_Fetch_Site="cross-site")
    assert answer.wrong and "a page of another site" in refused(bank)
    for long in (f"/sign-in/oidc/return?code={'x' * 5000}", "/sign-in/oidc/return?code=%0d%0aX:y"):
        gone_to(client, "/sign-in/oidc")
        assert client.ask("GET", long, None, Sec_Fetch_Site="cross-site").status == 400


def test_the_request_is_exact_and_the_way_back_is_a_page_of_ours(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    asked = parse_qs(urlsplit(gone_to(client, "/sign-in/oidc?to=//evil.example")).query)
    assert asked["redirect_uri"] == [f"{bank.origin}/sign-in/oidc/return"]
    assert asked["response_type"] == ["code"] and asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid profile"] and asked["tenant"] == ["1"] and "prompt" not in asked
    assert all(len(asked[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
    cookie = client.cookies["console-oidc"]
    assert not any(asked[name][0] in cookie for name in ("state", "nonce"))
    assert led_on(client, bank, at.sign_in(gone_to(client, "/sign-in/oidc?to=//evil.example"), "boss")).path == "/"


def test_a_session_of_before_is_another_and_has_ended(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    client.cookies["console"] = "A" * 43
    sign_on(client, bank, at, "boss")
    first = client.cookies["console"]
    assert first != "A" * 43
    sign_on(client, bank, at, "boss")
    assert client.cookies["console"] != first
    thief = bank.client()
    thief.cookies["console"] = first
    assert thief.get("/me").title.startswith("Sign in")


def test_nobody_who_is_not_linked_or_is_disabled_or_has_no_role_gets_in(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    assert sign_on(client, bank, at, "supervisor").wrong.startswith("The provider knows you, but nobody here")
    assert "nobody who may sign in is linked to supervisor" in refused(bank)
    none: tuple[Any, ...] = ({"roles": ["unheard-of"]}, {"roles": []}, {"roles": {"counter": 1}}, "counter", None)
    for roles in none:
        at.lie(realm_access=roles)
        assert sign_on(client, bank, at, "boss").wrong.startswith("The provider gives you no role")
    at.lie()
    new = bank.sekisho.customer("kari-no-aikotoba")
    bank.sekisho.desk.staff.add("leaver", Role.OPERATOR, STAFF, account=new.contract_id)
    client.post("/sign-in", name="leaver", how="code")
    client.post("/sign-in/code", password=new.password, code=new.code())
    assert "Linked: leaver-sub" in link(client, bank, at, "leaver-sub").text
    bank.sekisho.desk.staff.disable("leaver", STAFF)
    assert client.get("/me").title.startswith("Sign in")
    assert sign_on(client, bank, at, "leaver-sub").wrong.startswith("The provider knows you, but nobody here")
    bank.sekisho.desk.staff.reset("leaver", STAFF)
    assert sign_on(client, bank, at, "leaver-sub").wrong.startswith("The provider knows you, but nobody here")


def test_a_link_belongs_to_one_and_another_is_not_taken_away(bank: Console, at: RunningProvider) -> None:
    client = bank.client(Role.OPERATOR)
    link(client, bank, at, "boss")
    assert "Not linked" in client.at.text  # type: ignore[union-attr]
    assert f"this identity of {at.issuer} is linked to supervisor" in acts_refused(bank)
    link(client, bank, at, "clerk")
    link(client, bank, at, "clerk-2")
    assert "clerk-2@bank.example" in client.get("/me").text
    other = bank.client()
    assert sign_on(other, bank, at, "clerk").wrong.startswith("The provider knows you, but nobody here")
    assert sign_on(other, bank, at, "clerk-2").status == 200 and "console" in other.cookies
    assert "unlinked" in client.post("/me/sign-on/unlink").text
    assert sign_on(bank.client(), bank, at, "clerk-2").wrong.startswith("The provider knows you, but nobody here")


def test_an_administrator_unlinks_and_ends_the_sessions(bank: Console, at: RunningProvider) -> None:
    at.lie(realm_access={"roles": ["chief"]})
    client, administrator = bank.client(), bank.client(Role.ADMINISTRATOR)
    sign_on(client, bank, at, "viewer")
    assert "viewer@bank.example" in administrator.get("/staff/auditor").text
    assert "unlinked" in administrator.post("/staff/auditor/unlink").text
    assert client.get("/me").title.startswith("Sign in")
    link(bank.client(Role.AUDITOR), bank, at, "viewer")


def test_a_sign_in_there_of_earlier_confirms_nothing_and_a_fresh_one_does(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    at.cookies["op"] = f"boss~{int(time.time()) - 3600}"
    sign_on(client, bank, at, "boss")
    assert gone_to(client, "/me/passkeys/new") == "/confirm?to=/me/passkeys/new"
    assert "/confirm/oidc?to=/me/passkeys/new" in client.get("/confirm?to=/me/passkeys/new").text
    address = gone_to(client, "/confirm/oidc?to=/me/passkeys/new")
    asked = parse_qs(urlsplit(address).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    page = led_on(client, bank, at.sign_in(address, "boss"))
    assert page.title.startswith("Confirm that it is you")
    assert sent_on(client, page).title.startswith("One more passkey"), client.at.text  # type: ignore[union-attr]
    assert bank.sekisho.audit()[-1].event == "staff.confirmed"


@pytest.mark.parametrize("claims", [{"auth_time": int(time.time()) - 600}, {"auth_time": None}, {"auth_time": "now"}])
def test_a_provider_that_does_not_ask_anew_confirms_nothing(
    bank: Console, at: RunningProvider, claims: dict[str, Any]
) -> None:
    client = bank.client(Role.SUPERVISOR)
    at.lie(**claims)
    page = led_on(client, bank, at.sign_in(gone_to(client, "/confirm/oidc?to=/me"), "boss"))
    assert sent_on(client, page).wrong.startswith("The single sign-on was not accepted.")
    assert refused(bank).startswith("supervisor: single sign-on: ") and "auth_time" in refused(bank)


def test_a_confirmation_by_somebody_elses_sign_on_or_for_another_session_is_none(
    bank: Console, at: RunningProvider
) -> None:
    client, other = bank.client(Role.SUPERVISOR), bank.client(Role.OPERATOR)
    page = led_on(client, bank, at.sign_in(gone_to(client, "/confirm/oidc?to=/me"), "viewer"))
    assert sent_on(client, page).wrong and "this identity is not linked to them" in refused(bank)
    back = at.sign_in(gone_to(client, "/confirm/oidc?to=/me"), "boss")
    other.cookies["console-oidc"] = client.cookies["console-oidc"]
    page = led_on(other, bank, back)
    assert sent_on(other, page).wrong and "of another session or purpose" in refused(bank)
    back = at.sign_in(gone_to(client, "/confirm/oidc?to=/me"), "boss")
    stranger = bank.client()
    stranger.cookies["console-oidc"] = client.cookies["console-oidc"]
    answer = stranger.get(path_of(back, bank).replace("/return", "/finish"), Sec_Fetch_Site="same-origin")
    assert answer.wrong and "of another session or purpose" in refused(bank), "a confirmation begins no session"


def test_a_confirmation_narrows_the_session_and_never_widens_it(bank: Console, at: RunningProvider) -> None:
    client = bank.client(Role.SUPERVISOR)
    for role, left in (("look", "auditor"), ("chief", "auditor")):
        at.lie(realm_access={"roles": [role]})
        sent_on(client, led_on(client, bank, at.sign_in(gone_to(client, "/confirm/oidc?to=/me"), "boss")))
        assert f"<dd>{left}" in client.get("/me").text, role


def test_a_narrowed_session_adds_no_way_in_by_which_it_would_be_more(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    sign_on(client, bank, at, "boss")
    page = led_on(client, bank, at.sign_in(gone_to(client, "/me/sign-on/new"), "another-of-boss"))
    assert "The single sign-on gives you less here" in sent_on(client, page).text
    assert "the provider lets this session act as operator only" in acts_refused(bank)


def test_turning_back_at_the_provider_is_no_fault(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    back = at.sign_in(gone_to(client, "/sign-in/oidc"), "boss", "no")
    assert led_on(client, bank, back).wrong.startswith("You were not signed in at the provider.")
    assert gone_to(bank.client(), "/sign-in/oidc/leave") == "/sign-in?why=sign-on-endless", "it has no page for that"


def test_neither_secret_nor_code_nor_token_is_in_the_log_or_the_trail(bank: Console, at: RunningProvider) -> None:
    client = bank.client()
    back = at.sign_in(gone_to(client, "/sign-in/oidc"), "boss")
    led_on(client, bank, back)
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(back).query)["state"][0]
    bank.sekisho.wait_for_log("path=/sign-in/oidc/finish")
    said = bank.log() + repr(bank.sekisho.audit())
    for secret in (SECRET, code, state, client.cookies["console"]):
        assert secret not in said


def test_the_section_and_its_secret_are_read_again_on_a_reload(tmp_path: Path, at: RunningProvider) -> None:
    """A secret that was changed at the provider, and a way to sign in there that is demanded from now on."""
    with console(tmp_path, other=at.tables(tmp_path)) as fresh:
        link(fresh.client(Role.AUDITOR), fresh, at, "viewer")
        secret, good = tmp_path / "oidc.secret", fresh.sekisho.config.read_text()

        def reload(key: str, settings: str = good) -> str:
            """What a sign-in after the reload comes to."""
            secret.write_text(key)
            fresh.sekisho.config.write_text(settings)
            assert fresh.sekisho.process is not None
            since = len(fresh.log())
            fresh.sekisho.process.send_signal(signal.SIGHUP)
            fresh.sekisho.wait_for_log("reloaded", since=since)
            page = sign_on(fresh.client(), fresh, at, "viewer")
            return page.wrong or page.title

        assert reload("another\n").startswith("The provider of the single sign-on does not answer.")
        fresh.sekisho.wait_for_log("refuses the console (invalid_client)")
        assert reload(SECRET).startswith("Find a customer")
        demanding = good.replace("[console.oidc]", '[console.oidc]\nacr_values = ["phr"]')
        assert reload(SECRET, demanding).startswith("The single sign-on was not accepted.")
        assert "in a way that counts (acr)" in refused(fresh)
        without = good[: good.index("[console.oidc]")] + good[good.index("[radius]") :]
        secret.unlink()
        fresh.sekisho.config.write_text(without)
        fresh.sekisho.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        end = time.monotonic() + 20
        while fresh.client().ask("GET", "/sign-in/oidc", None).status != 404 and time.monotonic() < end:
            time.sleep(0.1)
        assert fresh.client().ask("GET", "/sign-in/oidc", None).status == 404


def test_a_sign_in_that_a_reload_overtakes_is_silence(tmp_path: Path, at: RunningProvider) -> None:
    """The connections of the section of before are closed between two questions of one sign-in."""
    section = good(tmp_path, f"{STORE}[console]\n{at.tables(tmp_path)}").settings.console
    assert section is not None and section.oidc is not None
    oidc = section.oidc

    async def run() -> None:
        before = Provider(oidc, SECRET, time.monotonic)
        await before.metadata()
        await before.close()
        with pytest.raises(ProviderSilent, match="read again"):
            await before.exchange("code", "verifier", "http://localhost/return")
        with pytest.raises(ProviderSilent, match="read again"):
            await before.keys()

    asyncio.run(run())


def test_one_of_the_ways_to_sign_in_is_asked_for_and_demanded(tmp_path: Path, at: RunningProvider) -> None:
    proxies = 'trusted_proxies = ["127.0.0.0/8"]'
    with console(tmp_path, more=proxies, other=at.tables(tmp_path, 'acr_values = ["phrh", "phr"]')) as fresh:
        at.lie(acr="phr")
        link(fresh.client(Role.AUDITOR), fresh, at, "viewer")
        asked = parse_qs(urlsplit(gone_to(fresh.client(), "/sign-in/oidc?to=/")).query)
        assert asked["acr_values"] == ["phrh phr"]
        for acr in (None, "0", "phrh phr", ["phr"], {"phr": 1}, ""):
            at.lie(acr=acr)
            assert sign_on(fresh.client(), fresh, at, "viewer").wrong.startswith("The single sign-on was not accepted.")
            assert "in a way that counts (acr)" in refused(fresh), acr
        for acr in ("phr", "phrh"):
            at.lie(acr=acr)
            assert sign_on(fresh.client(), fresh, at, "viewer").title.startswith("Find a customer")


def test_without_the_section_there_is_no_such_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    with console(tmp_path_factory.mktemp("without")) as plain:
        client = plain.client()
        assert "single sign-on" not in client.get("/sign-in").text
        for path in ("/sign-in/oidc", "/sign-in/oidc/return", "/sign-in/oidc/finish"):
            assert client.ask("GET", path, None).status == 404


def test_a_providers_certificate_is_verified_and_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    """With ca_file, without it, and with nobody there; nobody is signed in for it."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("id", "localhost")
    with provider(None, str(certificate), str(key)) as running:
        for ca, state, text in (
            (f'ca_file = "{authority.file}"', CheckState.OK, f"{running.issuer} answers, with 5 keys"),
            ("", CheckState.FAIL, "has a certificate that is not trusted: see ca_file, and the host's name"),
        ):
            found = list(examine_sign_on(good(tmp_path, f"{STORE}[console]\n{running.tables(tmp_path, ca)}").settings))
            assert (found[0].state, text in found[0].text) == (state, True), found
            uri = "http://localhost:8380/sign-in/oidc/return"
            assert found[-1].text == f"the redirect URI to register, to the letter: {uri}"
    (gone, _) = examine_sign_on(good(tmp_path, f"{STORE}[console]\n{running.tables(tmp_path)}").settings)
    assert gone.state is CheckState.FAIL and "cannot be asked: ClientConnectorError" in gone.text
