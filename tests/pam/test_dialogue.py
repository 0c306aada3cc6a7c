"""What is asked, and what a verdict becomes: profiles and dialogue with plain values, no socket and no store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_network
from typing import TypeVar

import pytest

from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import (
    Accept,
    Attempt,
    Challenge,
    Language,
    Mode,
    OtpUse,
    Reject,
    Silence,
    StoreUnavailable,
    Verdict,
)
from pam_module.dialogue import SSHD_FAKE_PASSWORD, Dialogue, DialogueContext
from pam_module.frames import Op, Result, ResultCode, Role, Start, Style
from pam_module.profiles import Disposition, Profile, profiles_of
from pam_module.settings import AgentProfile, AskMode, PamProfile
from pam_module.texts import TEXTS, TextName

T = TypeVar("T")
TODAY = date(2026, 11, 25)
ACCEPT, ASK = Accept(), Challenge(b"state", Language.EN)


@dataclass
class FakeBackend:
    """Gives its verdicts in order, and records the attempts."""

    verdicts: list[Verdict] = field(default_factory=list)
    asked: list[Attempt] = field(default_factory=list)
    recorded: list[tuple[Event, str]] = field(default_factory=list)
    accounts: dict[str, tuple[ResultCode, str]] = field(default_factory=dict)
    silent: bool = False
    enrolled: bool = True

    async def answer(self, attempt: Attempt) -> Verdict:
        self.asked.append(attempt)
        if self.silent:
            raise StoreUnavailable("the disk is full")
        return self.verdicts.pop(0)

    async def account(self, customer: str, profile: Profile, today: date, *, exempt: bool) -> tuple[ResultCode, str]:
        return self.accounts.get(customer, (ResultCode.USER_UNKNOWN, "unknown customer"))

    async def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        self.recorded.append((event, reason))

    async def never_enrolled(self, customer: str) -> bool:
        return not self.enrolled


@dataclass
class FakePerson:
    """Types its answers in order."""

    answers: list[bytes]
    asked: list[tuple[str, Role, bool]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        self.asked.append((text, role, echo))
        return self.answers.pop(0)

    async def say(self, text: str, style: Style) -> None:
        self.told.append(text)

    async def within(self, seconds: float, awaitable: Awaitable[T]) -> T:
        return await awaitable


def groups(user: str) -> Collection[str]:
    return {"taro": ["users", "wheel"]}.get(user, ["users"])


def converse(
    profile: Profile, backend: FakeBackend, *answers: bytes, user: str = "taro", **more: object
) -> tuple[Result, FakePerson]:
    person = FakePerson(list(answers))
    start = Start(**{"op": Op.AUTH, "service": "sshd", "user": user, **more})  # type: ignore[arg-type]

    async def run() -> Result:
        clock = asyncio.get_running_loop().time
        context = DialogueContext(backend, groups, lambda: TODAY, clock, answer_seconds=5)
        return await Dialogue(start, profile, person, context).run()

    return asyncio.run(run()), person


# What is asked.


@pytest.mark.parametrize(
    ("ask_mode", "answers", "mode", "user_password", "roles"),
    [
        (AskMode.AUTO, [b"pw"], Mode.AUTO, "pw", ["password"]),
        (AskMode.CHALLENGE, [b"pw"], Mode.CHALLENGE, "pw", ["password"]),
        (AskMode.APPEND, [b"pw123456"], Mode.APPEND, "pw123456", ["password"]),
        (AskMode.TOGETHER, [b"pw", b"123456"], Mode.APPEND, "pw123456", ["password", "otp"]),
        (AskMode.TOGETHER, [b"pw123456", b"pw123456"], Mode.APPEND, "pw123456", ["password", "otp"]),
        (AskMode.CODE, [b"123456"], Mode.CODE, "123456", ["otp"]),
        (AskMode.CODE, [b""], Mode.CODE, "", ["otp"]),
        (AskMode.PASSWORD, [b"pw"], Mode.PASSWORD, "pw", ["password"]),
    ],
)
def test_each_mode_asks_its_questions(
    ask_mode: AskMode, answers: list[bytes], mode: Mode, user_password: str, roles: list[str]
) -> None:
    backend = FakeBackend([ACCEPT])
    result, person = converse(Profile(ask_mode=ask_mode), backend, *answers)
    (attempt,) = backend.asked
    assert (result, attempt.policy.mode, attempt.user_password) == (Result(ResultCode.SUCCESS), mode, user_password)
    assert [role for _, role, _ in person.asked] == roles
    assert (attempt.client, attempt.source, attempt.fingerprint) == ("pam:default", "sshd", 0)


def test_a_challenge_is_answered_in_its_own_language_until_there_is_a_verdict() -> None:
    again = Challenge(b"next", Language.JA, again=True)
    backend = FakeBackend([ASK, again, ACCEPT])
    profile = Profile(language=Language.EN, echo_code=True)
    result, person = converse(profile, backend, b"pw", b"111111", b"222222")
    assert result.code == ResultCode.SUCCESS
    assert [(one.challenge, one.user_password) for one in backend.asked] == [
        (None, "pw"),
        (b"state", "111111"),
        (b"next", "222222"),
    ]
    assert person.asked == [
        ("Password: ", Role.PASSWORD, False),
        (TEXTS[Language.EN][TextName.CODE], Role.OTP, True),
        (TEXTS[Language.JA][TextName.CODE_AGAIN], Role.OTP, True),
    ]


def test_a_first_factor_asks_its_own_question_and_the_answer_is_not_shown() -> None:
    own = Challenge(b"round", Language.EN, prompt="New password: ")
    backend = FakeBackend([own, ASK, ACCEPT])
    result, person = converse(Profile(language=Language.EN, echo_code=True), backend, b"pw", b"new", b"111111")
    assert result.code == ResultCode.SUCCESS
    assert [one.challenge for one in backend.asked] == [None, b"round", b"state"]
    assert person.asked[1:] == [
        ("New password: ", Role.OTP, False),
        (TEXTS[Language.EN][TextName.CODE], Role.OTP, True),
    ]


@pytest.mark.parametrize("ask_mode", list(AskMode))
@pytest.mark.parametrize("answer", [SSHD_FAKE_PASSWORD, SSHD_FAKE_PASSWORD + b"\b\n\r\x7fINC", b"\xff"])
def test_an_answer_that_no_person_typed_counts_against_no_account(ask_mode: AskMode, answer: bytes) -> None:
    backend = FakeBackend()
    assert converse(Profile(ask_mode=ask_mode), backend, answer, answer)[0].code == ResultCode.AUTH_ERR
    if ask_mode is not AskMode.CODE:
        assert converse(Profile(ask_mode=ask_mode), backend, authtok=answer)[0].code == ResultCode.AUTH_ERR
        assert converse(Profile(ask_mode=ask_mode), backend, b"")[0].code == ResultCode.AUTH_ERR
    assert backend.asked == []


def test_an_empty_user_name_is_refused() -> None:
    for user in ("", "  ", "　"):
        assert converse(Profile(), FakeBackend(), user=user)[0].code == ResultCode.AUTH_ERR


# What a verdict becomes.


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Accept(), ResultCode.SUCCESS),
        (Reject(Finding.WRONG.value, Language.JA), ResultCode.AUTH_ERR),
        (Reject(Finding.LOCKED.value, Language.JA), ResultCode.AUTH_ERR),
        (Reject(Finding.UNKNOWN_CUSTOMER.value, Language.JA), ResultCode.USER_UNKNOWN),
        (Silence("too late"), ResultCode.UNAVAILABLE),
    ],
)
def test_only_acceptance_is_success(verdict: Verdict, code: ResultCode) -> None:
    result, person = converse(Profile(reject_delay=3), FakeBackend([verdict]), b"pw")
    assert result.code == code
    assert (0 < result.delay_ms <= 3000) == isinstance(verdict, Reject)
    assert bool(person.told) == isinstance(verdict, Silence)


def test_a_store_that_cannot_be_used_is_an_outage() -> None:
    assert converse(Profile(), FakeBackend(silent=True), b"pw")[0].code == ResultCode.UNAVAILABLE


def test_customers_who_never_enrolled_are_told_the_last_day() -> None:
    profile = Profile(enrol_until=date(2026, 12, 31), language=Language.EN)
    _, person = converse(profile, FakeBackend([ACCEPT], enrolled=False), b"pw")
    assert person.told == ["You have no one-time password yet. Enrol by 2026-12-31."]
    assert converse(profile, FakeBackend([ACCEPT]), b"pw")[1].told == []


# Whom the profile decides about.


@pytest.mark.parametrize("ask_mode", list(AskMode))
def test_an_exempt_user_gives_the_password_and_no_code(ask_mode: AskMode) -> None:
    for profile in (
        Profile(ask_mode=ask_mode, exempt_users=frozenset({"taro"})),
        Profile(ask_mode=ask_mode, exempt_groups=frozenset({"wheel"})),
    ):
        backend = FakeBackend([ACCEPT])
        assert converse(profile, backend, b"pw")[0].code == ResultCode.SUCCESS
        assert [one.policy.mode for one in backend.asked] == ([] if ask_mode is AskMode.CODE else [Mode.PASSWORD])
        assert [event for event, _ in backend.recorded] == ([Event.LOGIN_EXEMPT] if ask_mode is AskMode.CODE else [])
        if ask_mode is not AskMode.CODE:
            assert converse(profile, FakeBackend([Reject("no", Language.JA)]), b"pw")[0].code == ResultCode.AUTH_ERR
        assert converse(profile, FakeBackend([ASK, ACCEPT]), b"pw", b"1", b"2", user="hanako")[1].asked


def test_an_exempt_user_may_be_left_to_the_rest_of_the_stack() -> None:
    profile = Profile(exempt_users=frozenset({"taro"}), exempt=Disposition.STEP_ASIDE)
    backend = FakeBackend()
    assert converse(profile, backend)[0].code == ResultCode.IGNORE
    assert converse(profile, backend, op=Op.ACCT)[0].code == ResultCode.IGNORE
    assert backend.recorded == [(Event.LOGIN_EXEMPT, "an exempt user")]


@pytest.mark.parametrize(
    ("rhost", "disposition"),
    [
        ("", Disposition.ASK),
        ("10.1.2.3", Disposition.ASK),
        ("::ffff:10.1.2.3", Disposition.ASK),
        ("10.9.2.3", Disposition.PASSWORD_ONLY),
        ("10.9.2.3%eth0", Disposition.PASSWORD_ONLY),
        ("192.0.2.1", Disposition.REFUSE),
        ("10.1.2.3.example", Disposition.REFUSE),
        ("localhost", Disposition.REFUSE),
    ],
)
def test_only_an_address_is_in_a_network(rhost: str, disposition: Disposition) -> None:
    profile = Profile(networks=(ip_network("10.0.0.0/8"),), password_networks=(ip_network("10.9.0.0/16"),))
    assert profile.disposition(Start(Op.AUTH, "sshd", "taro", rhost=rhost), groups)[0] is disposition
    if disposition is Disposition.REFUSE:
        backend = FakeBackend()
        assert converse(profile, backend, rhost=rhost)[0].code == ResultCode.PERM_DENIED
        assert [event for event, _ in backend.recorded] == [Event.LOGIN_REJECTED]
        assert converse(profile, backend, rhost=rhost, op=Op.ACCT)[0].code == ResultCode.PERM_DENIED


def test_the_account_phase_asks_nothing() -> None:
    backend = FakeBackend(accounts={"taro": (ResultCode.SUCCESS, ""), "hanako": (ResultCode.PERM_DENIED, "locked")})
    for user, code in {
        "taro": ResultCode.SUCCESS,
        "hanako": ResultCode.PERM_DENIED,
        "jiro": ResultCode.USER_UNKNOWN,
    }.items():
        result, person = converse(Profile(), backend, user=user, op=Op.ACCT)
        assert (result.code, person.asked) == (code, [])
    assert backend.recorded == [(Event.ACCOUNT_REFUSED, "locked"), (Event.ACCOUNT_REFUSED, "unknown customer")]


def test_a_network_without_codes_passes_nobody_s_account() -> None:
    backend = FakeBackend(accounts={"taro": (ResultCode.PERM_DENIED, "locked")})
    profile = Profile(ask_mode=AskMode.CODE, password_networks=(ip_network("10.0.0.0/8"),))
    assert converse(profile, backend, rhost="10.1.1.1", op=Op.ACCT)[0].code == ResultCode.PERM_DENIED
    assert converse(profile, backend, rhost="10.1.1.1", op=Op.ACCT, user="backup")[0].code == ResultCode.SUCCESS


# From the settings.


def test_the_option_goes_before_the_service_and_the_service_before_the_default() -> None:
    given = [
        PamProfile(name="a", services=("sshd",)),
        PamProfile(name="b"),
        PamProfile(name="default", mode=AskMode.CODE),
    ]
    profiles = profiles_of(given)

    def name(service: str, profile: str = "") -> str | None:
        found = profiles.find(Start(Op.AUTH, service, "taro", profile=profile))
        return found.name if found else None

    assert [name("sshd"), name("sshd", "b"), name("su"), name("su", "c")] == ["a", "b", "default", None]
    default = profiles.find(Start(Op.AUTH, "su", "taro"))
    assert default is not None and default.ask_mode is AskMode.CODE
    assert profiles_of([]).find(Start(Op.AUTH, "su", "taro")) == Profile()


def test_the_settings_of_a_profile_become_the_attempt_s_policy() -> None:
    given = PamProfile(
        name="a", without_token="reject", suspended="password", lost="password", without_password="code",
        texts_en={TextName.CODE: "Token: "},
    )  # fmt: skip
    found = profiles_of([given]).find(Start(Op.AUTH, "su", "taro", profile="a"))
    assert found is not None
    policy = found.policy(TODAY)
    assert policy.password_only == {OtpUse.SUSPENDED, OtpUse.LOST, OtpUse.REISSUE_PERMITTED}
    assert policy.code_is_enough
    assert found.text(TextName.CODE, Language.EN) == "Token: "
    assert found.text(TextName.CODE, Language.JA) == TEXTS[Language.JA][TextName.CODE]


@pytest.mark.parametrize("without_token", ["password", "reject"])
def test_grace_lasts_to_the_end_of_its_day(without_token: str) -> None:
    given = PamProfile.model_validate({"name": "a", "enrol_until": TODAY, "without_token": without_token})
    found = profiles_of([given]).find(Start(Op.AUTH, "su", "taro", profile="a"))
    assert found is not None
    assert OtpUse.NONE in found.policy(TODAY).password_only
    assert OtpUse.NONE not in found.policy(date(2026, 11, 26)).password_only


def test_offline_codes_are_for_mode_code_alone() -> None:
    found = profiles_of([AgentProfile(name="a", mode=AskMode.CODE, offline="codes")])
    assert found.find(Start(Op.AUTH, "su", "taro", profile="a")) is not None
    with pytest.raises(ValueError, match='needs mode = "code"'):
        AgentProfile(name="a", mode=AskMode.AUTO, offline="codes")


def test_every_text_is_there_in_every_language() -> None:
    assert {len(texts) for texts in TEXTS.values()} == {len(TextName)}
    assert set(TEXTS) == set(Language)
