"""An upstream is asked in order, in time, and believed only if its reply is signed for the question."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

import pytest

from otp_core.model import BackendSilent, Forwarded
from otp_core.radius.codec import PacketCode
from otp_core.settings import Address
from otp_core.upstreams.forwarding import Asked as Login
from otp_core.upstreams.upstream import Plan, Reply, Upstream
from tests.fakes_radius import in_loop
from tests.sekisho import free_port
from tests.upstreams.raw import (
    ACCEPT,
    CHALLENGE,
    PROXY_STATE,
    REJECT,
    SECRET,
    STATE,
    Answer,
    Asked,
    RawUpstream,
    accepts,
    silent,
)

GATEWAYS = Forwarded(b"taro", "utf-8", ((32, b"gw"), (PROXY_STATE, b"one"), (PROXY_STATE, b"")))


def login(password: bytes = b"himitsu", state: bytes | None = None) -> Login:
    return Login(GATEWAYS, password, SECRET, b"ours", state)


@contextlib.asynccontextmanager
async def upstream_of(*servers: RawUpstream | Address, **plan: object) -> AsyncIterator[Upstream]:
    addresses = tuple(one.address if isinstance(one, RawUpstream) else one for one in servers)
    values = {"timeout": 0.2, "tries": 3, "dead_seconds": 5.0, "status_server": False, **plan}
    made = Upstream(Plan("core", addresses, SECRET, **values))  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def asked(upstream: Upstream, seconds: float = 5.0, one: Login | None = None) -> Reply:
    return await upstream.ask((one or login()).write, asyncio.get_running_loop().time() + seconds)


def code(reply: Reply) -> int:
    return reply.packet.code


@in_loop
async def test_what_goes_there_is_signed_by_us_and_our_proxy_state_is_the_last() -> None:
    with RawUpstream() as server:
        async with upstream_of(server) as upstream:
            assert code(await asked(upstream)) == PacketCode.ACCESS_ACCEPT
    (one,) = server.asked
    assert (one.is_signed, one.password) == (True, b"himitsu")
    assert [type_ for type_, _ in one.attributes] == [80, 1, 2, 32, PROXY_STATE, PROXY_STATE, PROXY_STATE]
    assert one.values(PROXY_STATE) == [b"one", b"", b"ours"]


LIES: dict[str, Callable[[Asked], bytes]] = {
    "another secret": lambda asked: asked.reply(ACCEPT, secret=b"another"),
    "a wrong Response Authenticator": lambda asked: _flipped(asked.reply(ACCEPT), 4),
    "a wrong Message-Authenticator": lambda asked: _flipped(asked.reply(ACCEPT), 22),
    "no Message-Authenticator": lambda asked: asked.reply(ACCEPT, signed=False),
    "an attribute changed": lambda asked: _flipped(asked.reply(ACCEPT, (25, b"class")), 41),
    "another identifier": lambda asked: asked.reply(ACCEPT, identifier=asked.identifier ^ 1),
    "a reject changed into an accept": lambda asked: bytes((ACCEPT,)) + asked.reply(REJECT)[1:],
    "the request itself": lambda asked: asked.octets,
    "cut short": lambda asked: asked.reply(ACCEPT)[:-1],
    "nothing": lambda _: b"",
    "one octet": lambda _: b"\2",
    "a longer length": lambda asked: asked.reply(ACCEPT)[:2] + b"\xff\xff" + asked.reply(ACCEPT)[4:],
    "an attribute that overruns": lambda asked: _overrun(asked),
    "two Message-Authenticators": lambda asked: asked.reply(ACCEPT, (80, bytes(16))),
}


def _flipped(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


def _overrun(asked: Asked) -> bytes:
    reply = asked.reply(ACCEPT, (25, b"class"), echo=False)
    return _flipped(reply, len(reply) - 6)


@pytest.mark.parametrize("lie", LIES)
@in_loop
async def test_a_reply_that_lies_is_ignored_and_the_wait_goes_on(lie: str) -> None:
    with RawUpstream(lambda asked: [LIES[lie](asked)]) as server:
        async with upstream_of(server, tries=1) as upstream:
            with pytest.raises(BackendSilent):
                await asked(upstream)
            server.answer = lambda asked: [LIES[lie](asked), LIES[lie](asked), asked.reply(REJECT)]
            assert code(await asked(upstream)) == PacketCode.ACCESS_REJECT


@in_loop
async def test_a_right_reply_from_another_address_is_ignored() -> None:
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.2", 0))

    def elsewhere(asked: Asked) -> Iterable[bytes]:
        stranger.sendto(asked.reply(ACCEPT), asked.source)
        return []

    with contextlib.closing(stranger), RawUpstream(elsewhere) as server:
        async with upstream_of(server, tries=1) as upstream:
            with pytest.raises(BackendSilent):
                await asked(upstream)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda asked: [asked.reply(ACCEPT, secret=b"x")], "is the shared secret right?"),
        (lambda asked: [asked.reply(ACCEPT, signed=False)], "without Message-Authenticator"),
        (silent, "no reply"),
    ],
)
@in_loop
async def test_a_wrong_secret_is_told_apart_from_silence(answer: Answer, said: str) -> None:
    with RawUpstream(answer) as server:
        async with upstream_of(server, tries=1) as upstream:
            with pytest.raises(BackendSilent, match=said.replace("?", r"\?")):
                await asked(upstream)


@in_loop
async def test_an_upstream_may_be_let_off_its_message_authenticator_but_not_have_a_wrong_one() -> None:
    with RawUpstream(lambda asked: [asked.reply(ACCEPT, signed=False)]) as server:
        async with upstream_of(server, tries=1, require_message_authenticator=False) as upstream:
            assert code(await asked(upstream)) == PacketCode.ACCESS_ACCEPT
            server.answer = lambda asked: [LIES["a wrong Message-Authenticator"](asked)]
            with pytest.raises(BackendSilent):
                await asked(upstream)


@in_loop
async def test_the_second_try_goes_to_the_next_server_and_the_first_may_still_answer() -> None:
    late: list[Asked] = []
    with RawUpstream(lambda asked: late.append(asked) or []) as first, RawUpstream(silent) as second:  # type: ignore[func-returns-value]
        async with upstream_of(first, second) as upstream:
            waiting = asyncio.ensure_future(asked(upstream))
            await asyncio.sleep(0.3)
            assert (len(first.logins), len(second.logins)) == (1, 1)
            assert first.logins[0].octets != second.logins[0].octets
            first.send(late[0].reply(ACCEPT), late[0].source)
            assert (await waiting).server.address == first.address


@in_loop
async def test_a_further_try_at_one_server_repeats_its_octets_and_all_tries_are_counted() -> None:
    with RawUpstream(silent) as server:
        async with upstream_of(server, timeout=0.1) as upstream:
            with pytest.raises(BackendSilent):
                await asked(upstream)
    assert len(server.logins) == 3
    assert len({one.octets for one in server.logins}) == 1


@in_loop
async def test_a_deadline_ends_the_tries() -> None:
    with RawUpstream(silent) as server:
        async with upstream_of(server, timeout=0.4) as upstream:
            begun = time.monotonic()
            with pytest.raises(BackendSilent):
                await asked(upstream, seconds=0.5)
            assert time.monotonic() - begun < 0.7
            assert (upstream.in_flight, upstream.unanswered, sum(upstream.seconds.counts)) == (0, 1, 0)


@in_loop
async def test_a_server_where_nobody_listens_costs_no_time_while_there_is_another() -> None:
    nobody = Address("127.0.0.1", free_port())
    with RawUpstream() as second:
        async with upstream_of(nobody, second, timeout=2.0) as upstream:
            begun = time.monotonic()
            assert (await asked(upstream)).server.address == second.address
            assert time.monotonic() - begun < 0.5
            first = next(iter(upstream.servers))
            assert first.dead_because == "nobody listens there"


@in_loop
async def test_a_dead_server_is_asked_after_the_others_and_any_valid_reply_revives_it() -> None:
    with RawUpstream(silent) as first, RawUpstream() as second:
        async with upstream_of(first, second, timeout=0.1) as upstream:
            for _ in range(3):
                assert (await asked(upstream)).server.address == second.address
            assert len(first.logins) == 1, "the later ones did not wait for it"
            first.answer, second.answer = accepts, silent
            assert (await asked(upstream)).server.address == first.address, "the others are silent: it is asked too"
            second.answer = accepts
            assert (await asked(upstream)).server.address == first.address, "and lives again"


@in_loop
async def test_a_server_that_answers_others_is_not_dead_because_one_packet_was_lost() -> None:
    lost: list[Asked] = []

    def loses_the_first(asked: Asked) -> Iterable[bytes]:
        if not lost:
            lost.append(asked)
            return []
        return [] if asked.octets == lost[0].octets else [asked.reply(ACCEPT)]

    with RawUpstream(loses_the_first) as first, RawUpstream() as second:
        async with upstream_of(first, second) as upstream:
            one = asyncio.ensure_future(asked(upstream))
            await asyncio.sleep(0.1)
            await asked(upstream)
            await one
            assert next(iter(upstream.servers)).dead_because == ""


@in_loop
async def test_one_login_tries_a_dead_server_again_when_its_time_is_over() -> None:
    with RawUpstream(silent) as first, RawUpstream() as second:
        async with upstream_of(first, second, timeout=0.1, dead_seconds=0.2) as upstream:
            await asked(upstream)
            await asyncio.sleep(0.25)
            await asyncio.gather(*(asked(upstream) for _ in range(5)))
            assert len(first.logins) == 2


@in_loop
async def test_status_server_is_asked_at_the_start_and_revives_without_a_login() -> None:
    port = free_port()
    async with upstream_of(Address("127.0.0.1", port), status_server=True, timeout=0.1, dead_seconds=0.4) as upstream:
        await asyncio.sleep(0.1)
        assert not upstream.reachable
        with RawUpstream(port=port) as server:
            for _ in range(50):
                await asyncio.sleep(0.05)
                if server.asked:
                    break
            await asyncio.sleep(0.05)
            assert next(iter(upstream.servers)).dead_because == ""
            assert upstream.reachable
            assert server.logins == []
            assert server.asked[0].is_signed


@in_loop
async def test_a_server_that_does_not_know_status_server_is_not_dead_for_it() -> None:
    with RawUpstream(answers_status=False) as server:
        async with upstream_of(server, status_server=True, timeout=0.05, dead_seconds=0.3) as upstream:
            await asyncio.sleep(0.3)
            assert code(await asked(upstream)) == PacketCode.ACCESS_ACCEPT
            assert upstream.reachable
            await asyncio.sleep(0.4)
            assert upstream.reachable


@in_loop
async def test_a_sign_of_life_may_be_without_message_authenticator_but_not_with_another_secret() -> None:
    with RawUpstream(signs_status=False) as server:
        async with upstream_of(server, timeout=0.1) as upstream:
            only = next(iter(upstream.servers))
            assert await upstream.probe(only) == ""
            upstream.plan = replace(upstream.plan, secret=b"another")
            assert "is the shared secret right?" in await upstream.probe(only, 1)


@in_loop
async def test_2000_logins_under_way_lose_nothing_and_share_no_identifier() -> None:
    held: list[Asked] = []
    with RawUpstream(lambda asked: held.append(asked) or []) as server:  # type: ignore[func-returns-value]
        async with upstream_of(server, timeout=20.0, tries=1) as upstream:
            waiting = []
            for number in range(2000):
                waiting.append(asyncio.ensure_future(asked(upstream, 20.0, login(b"password %d" % number))))
                if number % 100 == 0:
                    await asyncio.sleep(0.005)
            for _ in range(1000):
                await asyncio.sleep(0.01)
                if len(held) == 2000:
                    break
            assert len({(one.source, one.identifier) for one in held}) == 2000
            assert len({one.authenticator for one in held}) == 2000
            assert len({one.password for one in held}) == 2000
            random.Random(7).shuffle(held)
            for number, one in enumerate(held):
                server.send(one.reply(ACCEPT, (25, one.password)), one.source)
                if number % 50 == 0:
                    await asyncio.sleep(0)
            replies = await asyncio.gather(*waiting)
    for number, reply in enumerate(replies):
        assert reply.packet.values(25) == [b"password %d" % number]


@in_loop
async def test_a_reply_that_comes_late_is_nobody_elses() -> None:
    """All identifiers of a socket are used, given up, and used again: the replies of the first round are for nobody."""
    held: list[Asked] = []
    with RawUpstream(lambda asked: held.append(asked) or []) as server:  # type: ignore[func-returns-value]
        async with upstream_of(server, timeout=0.6, tries=1) as upstream:
            await asyncio.gather(*(asked(upstream) for _ in range(256)), return_exceptions=True)
            first = list(held)
            assert len(first) == 256
            again = [asyncio.ensure_future(asked(upstream)) for _ in range(256)]
            await asyncio.sleep(0)
            for one in first:
                server.send(one.reply(ACCEPT), one.source)
            assert all(isinstance(one, BackendSilent) for one in await asyncio.gather(*again, return_exceptions=True))
            only = next(iter(upstream.servers))
            assert only.channels.ignored["late"] == 256
            assert only.dead_because == ""


@in_loop
async def test_a_bound_on_logins_under_way_keeps_a_hung_upstream_to_itself() -> None:
    with RawUpstream(silent) as hung, RawUpstream() as well:
        async with upstream_of(hung, most=10, timeout=1.0, tries=1) as slow, upstream_of(well) as quick:
            waiting = [asyncio.ensure_future(asked(slow)) for _ in range(10)]
            await asyncio.sleep(0)
            with pytest.raises(BackendSilent, match="10 logins wait for it already"):
                await asked(slow)
            begun = time.monotonic()
            await asked(quick)
            assert time.monotonic() - begun < 0.2
            await asyncio.gather(*waiting, return_exceptions=True)


@in_loop
async def test_an_answer_to_a_question_goes_to_the_server_that_asked() -> None:
    with RawUpstream(lambda asked: [asked.reply(CHALLENGE, (STATE, b"s"))]) as first, RawUpstream() as second:
        async with upstream_of(first, second, timeout=0.1) as upstream:
            reply = await asked(upstream)
            assert code(reply) == PacketCode.ACCESS_CHALLENGE
            first.answer = silent
            soon = asyncio.get_running_loop().time() + 1
            with pytest.raises(BackendSilent):
                await upstream.ask(login(b"1234", b"s").write, soon, str(reply.server.address))
            assert (len(first.logins), len(second.logins)) == (4, 0)
            with pytest.raises(BackendSilent, match="no server of it any more"):
                await upstream.ask(login(b"1234", b"s").write, soon, "192.0.2.1:1")
