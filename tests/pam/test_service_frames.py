"""Frames of a careless or hostile module: bad, cut off, out of order or too many, they let nobody in."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from pam_module.connection import ModuleConnection
from pam_module.frame_codec import encode
from pam_module.frames import MAX_FRAMES, Abort, Answer, Op, Prompt, Result, ResultCode, Role, Start
from tests.pam.host import Host, start
from tests.pam.serving import serving
from tests.pam.test_frames import BAD


async def ask_for_ever(start: Start, connection: ModuleConnection) -> Result:
    while True:
        await connection.ask("Again: ", Role.NONE)


async def fail(start: Start, connection: ModuleConnection) -> Result:
    raise RuntimeError("a fault of ours")


def test_a_conversation(tmp_path: Path) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        host.send(start("taro"))
        assert host.hear() == Prompt("Name: ", False, Role.PASSWORD)
        host.send(Answer(b"taro"))
        assert [host.hear(), host.hear()] == [Result(ResultCode.SUCCESS), None]


def test_octet_by_octet_is_as_good(tmp_path: Path) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        for octet in encode(start("taro")):
            host.send(bytes((octet,)))
        host.hear()
        for octet in encode(Answer(b"taro")):
            host.send(bytes((octet,)))
        assert host.result() == Result(ResultCode.SUCCESS)


@pytest.mark.parametrize(
    "vector",
    [one for one in BAD if one["direction"] == "module" and one["error"] != "INCOMPLETE"],
    ids=lambda v: v["name"],
)
def test_a_bad_frame_is_a_refusal_and_no_outage(tmp_path: Path, vector: dict[str, str]) -> None:
    with serving(tmp_path) as path:
        with Host(path) as host:
            host.send(bytes.fromhex(vector["hex"]))
            assert host.result() == Result(ResultCode.AUTH_ERR)
        with Host(path) as host:
            host.send(start("taro"))
            host.hear()
            host.send(bytes.fromhex(vector["hex"]))
            assert host.result() == Result(ResultCode.AUTH_ERR)


@pytest.mark.parametrize(
    "said",
    [
        encode(Answer(b"taro")),
        encode(Abort()),
        encode(start("taro")) + encode(Answer(b"taro")),
        encode(start("taro")) + encode(start("taro")),
    ],
)
def test_frames_out_of_order_let_nobody_in(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        host.send(said)
        found = host.result()
        assert found is None or found.code != ResultCode.SUCCESS


def test_an_end_at_any_octet_ends_the_conversation(tmp_path: Path) -> None:
    octets = encode(start("taro"))
    with serving(tmp_path) as path:
        for length in range(len(octets)):
            with Host(path) as host:
                host.send(octets[:length])
                host.socket.shutdown(socket.SHUT_WR)
                found = host.result()
                assert found is None or found.code == ResultCode.AUTH_ERR
        with Host(path) as host:
            host.send(octets)
            host.hear()
        with Host(path) as host:
            host.send(start("taro"))
            assert isinstance(host.hear(), Prompt)


def test_a_conversation_has_no_more_frames_than_it_may(tmp_path: Path) -> None:
    with serving(tmp_path, ask_for_ever) as path, Host(path) as host:
        host.send(start("taro"))
        frames = 1
        while True:
            frame = host.hear()
            frames += 1
            if not isinstance(frame, Prompt):
                break
            host.send(Answer(b"x"))
            frames += 1
        assert (frame, frames <= MAX_FRAMES) == (Result(ResultCode.MAXTRIES), True)


def test_a_fault_of_ours_is_an_outage(tmp_path: Path) -> None:
    with serving(tmp_path, fail) as path, Host(path) as host:
        host.send(start("taro"))
        assert host.result() == Result(ResultCode.UNAVAILABLE)


def test_giving_up_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        host.send(start("taro"))
        host.hear()
        host.send(Abort())
        assert host.result() is None


def test_an_answer_before_its_prompt_waits_in_the_socket(tmp_path: Path) -> None:
    async def slow(start: Start, connection: ModuleConnection) -> Result:
        first = await connection.ask("First: ", Role.NONE)
        await asyncio.sleep(1)
        second = await connection.ask("Second: ", Role.NONE)
        return Result(ResultCode.SUCCESS if (first, second) == (b"1", b"2") else ResultCode.AUTH_ERR)

    with serving(tmp_path, slow) as path, Host(path) as host:
        host.send(start("taro"))
        host.hear()
        host.send(Answer(b"1"))
        time.sleep(0.3)
        host.send(Answer(b"2"))
        assert host.result() == Result(ResultCode.SUCCESS)


def test_a_start_for_the_account_phase_is_told_apart(tmp_path: Path) -> None:
    async def which(start: Start, connection: ModuleConnection) -> Result:
        return Result(ResultCode.SUCCESS if start.op is Op.ACCT else ResultCode.AUTH_ERR)

    with serving(tmp_path, which) as path, Host(path) as host:
        host.send(start("taro", op=Op.ACCT))
        assert host.result() == Result(ResultCode.SUCCESS)
