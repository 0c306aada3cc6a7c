"""Directories that hang, lie or talk on and on: each is silence in time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import pytest

from otp_core.first_factor.ldap.connection import Place, Security
from otp_core.first_factor.ldap.directory import FINDINGS, Limits
from otp_core.first_factor.ldap.outcome import ACTIVE_DIRECTORY, Meaning
from otp_core.login.table import Finding
from otp_core.model import BackendSilent, Overloaded
from tests.ldap import peers
from tests.ldap.asking import Setup, ask, opened, run
from tests.ldap.certificates import Authority
from tests.ldap.peers import Behave, OneAccount, Peer, peer, tlv

DN = "CN=Taro Yamada,OU=IB,DC=bank,DC=example"
LITTLE = 0.25


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def place_of(one: Peer, security: Security = Security.NONE) -> Place:
    return Place("127.0.0.1", one.port, security)


@pytest.mark.parametrize(
    ("behave", "security", "words"),
    [
        (peers.silent, Security.NONE, "does not answer in time"),
        (peers.silent, Security.TLS, "does not answer in time"),
        (peers.silent, Security.START_TLS, "does not answer in time"),
        (peers.half_a_reply, Security.NONE, "does not answer in time"),
        (peers.dripping, Security.NONE, "does not answer in time"),
        (peers.endless, Security.NONE, "something else|more than 262144 octets"),
        (peers.announces_gigabytes, Security.NONE, "announces an answer of"),
        (peers.another_protocol, Security.NONE, "does not speak LDAP"),
        (peers.answers_another_question, Security.NONE, "answers what was not asked"),
        (peers.says_goodbye, Security.NONE, "says goodbye: 52 .unavailable.: going down"),
        (peers.injects_behind_start_tls, Security.START_TLS, "octets in clear behind its answer to StartTLS"),
        (peers.refuses_start_tls, Security.START_TLS, "refuses StartTLS: 2 .protocolError.: no TLS here"),
    ],
)
def test_it_is_silence_in_time_and_the_connection_is_gone(
    authority: Authority, behave: Behave, security: Security, words: str
) -> None:
    threads = threading.active_count()

    async def scene() -> None:
        tasks = len(asyncio.all_tasks())
        async with peer(behave) as one:
            with opened(Setup([place_of(one, security)], authority.file, timeout=LITTLE)) as directory:
                begun = time.monotonic()
                with pytest.raises(BackendSilent, match=words):
                    await ask(directory, "taro", "secret")
                assert time.monotonic() - begun < 2 * LITTLE + 0.3
            end = time.monotonic() + 5
            while one.ended < one.connections or len(asyncio.all_tasks()) > tasks:
                assert time.monotonic() < end, asyncio.all_tasks()
                await asyncio.sleep(0.01)
            assert one.connections == 1

    run(scene)
    gc.collect()
    assert threading.active_count() <= threads


def test_the_logins_deadline_ends_it_before_the_servers_time_does(authority: Authority) -> None:
    async def scene() -> None:
        async with peer(peers.silent) as one, peer(peers.silent) as other:
            with opened(Setup([place_of(one), place_of(other)], timeout=5.0)) as directory:
                begun = time.monotonic()
                with pytest.raises(BackendSilent):
                    await ask(directory, "taro", "secret", seconds=LITTLE)
                assert time.monotonic() - begun < LITTLE + 0.3
                assert other.connections == 0

    run(scene)


def test_who_gives_up_leaves_no_connection_open() -> None:
    async def scene() -> None:
        async with peer(peers.silent) as one:
            with opened(Setup([place_of(one)], timeout=5.0)) as directory:
                login = asyncio.ensure_future(ask(directory, "taro", "secret"))
                await one.came.wait()
                login.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await login
                await one.went.wait()

    run(scene)


def test_a_hung_directory_has_a_bound_of_its_own_and_delays_no_other() -> None:
    async def scene() -> None:
        good = OneAccount(DN, {b"secret": (0, "")})
        async with peer(peers.silent) as hung, peer(good) as well:
            limits = Limits(connections=2, max_waiting=3)
            with (
                opened(Setup([place_of(hung)], timeout=1.0, limits=limits)) as first,
                opened(Setup([place_of(well)])) as second,
            ):
                # Who waits gives up before those do who have a connection: none takes their place.
                patience = [0.9] * limits.connections + [0.5] * 8
                waiting = [asyncio.ensure_future(ask(first, "taro", "secret", seconds=one)) for one in patience]
                await asyncio.sleep(0.05)
                begun = time.monotonic()
                assert (await ask(second, "taro", "secret")).right
                assert time.monotonic() - begun < 0.3
                found = await asyncio.gather(*waiting, return_exceptions=True)
                assert hung.connections == 2
                at_once = [one for one in found if isinstance(one, Overloaded) and "max_waiting" in str(one)]
                in_line = [one for one in found if isinstance(one, Overloaded) and "longer" in str(one)]
                assert (len(at_once), len(in_line)) == (5, 3)
                assert all(isinstance(one, BackendSilent) for one in found)

    run(scene)


def test_a_bind_that_is_not_answered_is_sent_to_no_other_server() -> None:
    async def scene() -> None:
        slow, other = OneAccount(DN, {}, delay=2), OneAccount(DN, {})
        async with peer(slow) as one, peer(other) as two:
            setup = Setup([place_of(one), place_of(two)], timeout=LITTLE, bind_dn="")
            with opened(setup) as directory:
                with pytest.raises(BackendSilent, match="does not answer a bind in time"):
                    await ask(directory, "taro", "secret")
                assert (slow.binds, other.binds) == ([b"secret"], [])

    run(scene)


def test_a_server_that_is_busy_has_not_looked_and_the_next_one_is_asked() -> None:
    async def scene() -> None:
        busy, other = OneAccount(DN, {b"secret": (51, "later")}), OneAccount(DN, {b"secret": (49, "")})
        async with peer(busy) as one, peer(other) as two:
            with opened(Setup([place_of(one), place_of(two)], bind_dn="")) as directory:
                assert not (await ask(directory, "taro", "secret")).right
                assert (busy.binds, other.binds) == ([b"secret"], [b"secret"])

    run(scene)


def _text_of(code: str) -> str:
    return f"80090308: LdapErr: DSID-0C09041C, comment: AcceptSecurityContext error, data {code}, v4563\0"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("525", Finding.UNKNOWN_CUSTOMER),
        ("52e", Finding.WRONG_PASSWORD),
        ("52f", Finding.ACCOUNT_DISABLED),
        ("530", Finding.NOT_PERMITTED_THERE),
        ("531", Finding.NOT_PERMITTED_THERE),
        ("532", Finding.PASSWORD_EXPIRED),
        ("533", Finding.ACCOUNT_DISABLED),
        ("701", Finding.ACCOUNT_EXPIRED),
        ("773", Finding.PASSWORD_MUST_CHANGE),
        ("775", Finding.ACCOUNT_LOCKED_THERE),
        ("57", Finding.WRONG_PASSWORD),  # one that nobody has named: a refusal all the same
    ],
)
def test_what_active_directory_says_in_an_error(code: str, reason: Finding) -> None:
    assert _finding_of({b"secret": (49, _text_of(code))}) is reason
    assert set(FINDINGS) == set(Meaning) - {Meaning.RIGHT}
    assert set(ACTIVE_DIRECTORY.values()) <= set(FINDINGS)


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (19, "Exceed password retry limit. Please try later.", Finding.ACCOUNT_LOCKED_THERE),
        (53, "Account inactivated. Contact system administrator.", Finding.ACCOUNT_DISABLED),
        (49, "password expired!", Finding.PASSWORD_EXPIRED),
        (48, "", Finding.WRONG_PASSWORD),
        (32, "", Finding.UNKNOWN_CUSTOMER),
    ],
)
def test_what_other_directories_say_in_words(code: int, text: str, reason: Finding) -> None:
    assert _finding_of({b"secret": (code, text)}) is reason


@pytest.mark.parametrize("code", [1, 2, 3, 8, 10, 13, 19, 50, 51, 52, 53, 80, 118])
def test_what_is_no_word_about_the_password_is_silence(code: int) -> None:
    with pytest.raises(BackendSilent):
        _finding_of({b"secret": (code, "for some reason")})


def test_389_directory_server_lets_in_who_has_to_change_the_password_first() -> None:
    control = tlv(0x30, tlv(4, b"2.16.840.1.113730.3.4.4"), tlv(4, b"0"))
    assert _finding_of({}, {b"secret": tlv(0xA0, control)}) is Finding.PASSWORD_MUST_CHANGE
    assert _finding_of({}, {b"secret": tlv(0xA0, tlv(0x30, tlv(4, b"1.2.3"), tlv(1, b"\0")))}) is None


_RESET = tlv(0xA0, tlv(0x30, tlv(4, b"2.16.840.1.113730.3.4.4"), tlv(4, b"0")))


@pytest.mark.parametrize(
    ("answer", "controls", "words"),
    [
        ((49, "80090308: LdapErr: DSID-0C09, comment: AcceptSecurityContext error, data 532"), b"", "has expired"),
        ((49, "80090308: LdapErr: DSID-0C09, comment: AcceptSecurityContext error, data 775"), b"", "is locked"),
        ((49, "password expired!"), b"", "its password has expired"),
        ((0, ""), _RESET, "its password has to be changed first: 0"),
        ((49, ""), b"", "49 .invalidCredentials."),
    ],
)
def test_what_the_account_that_searches_suffers_from_is_said_in_words_and_no_customers_password_is_wrong(
    answer: tuple[int, str], controls: bytes, words: str
) -> None:
    async def scene() -> None:
        known = OneAccount(DN, {b"service": answer}, {b"service": controls})
        async with peer(known) as one:
            with opened(Setup([place_of(one)], bind_password="service")) as directory:
                with pytest.raises(BackendSilent, match=f"refuses bind_dn, the account that searches: .*{words}"):
                    await ask(directory, "taro", "secret")
                with pytest.raises(BackendSilent):
                    await ask(directory, "taro", "secret")
        assert known.binds == [b"service"], "tried once, or it would lock"

    run(scene)


def _finding_of(answers: dict[bytes, tuple[int, str]], controls: dict[bytes, bytes] | None = None) -> Finding | None:
    async def scene() -> Finding | None:
        async with peer(OneAccount(DN, answers, controls or {})) as one:
            with opened(Setup([place_of(one)], bind_dn="")) as directory:
                found = await ask(directory, "taro", "secret")
                return None if found.right else found.reason

    return run(scene)


def test_a_server_that_hangs_is_left_out_for_a_while_and_the_log_says_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scene() -> None:
        good = OneAccount(DN, {b"secret": (0, "")})
        async with peer(peers.silent) as hung, peer(good) as well:
            places = [place_of(hung), place_of(well)]
            with opened(Setup(places, timeout=LITTLE, bind_dn="")) as directory:
                for _ in range(3):
                    assert (await ask(directory, "taro", "secret")).right
                assert hung.connections == 1

    run(scene)
    assert capsys.readouterr().out.count("a directory's server is of no use") == 1


def test_no_secret_is_in_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        async with peer(OneAccount(DN, {b"hidden-secret": (80, "hm")})) as one:
            setup = Setup([place_of(one)], bind_password="service-secret")
            with opened(setup) as directory:
                with pytest.raises(BackendSilent) as raised:
                    await ask(directory, "taro-typed-it", "hidden-secret")
                said = f"{raised.value} {directory._access!r} {capsys.readouterr().out}"
                for secret in ("hidden-secret", "service-secret", "taro-typed-it"):
                    assert secret not in said

    run(scene)
