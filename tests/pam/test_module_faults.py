"""A service that is away, broken or hostile: no login succeeds, and none takes long."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pam_module.frame_codec import encode
from pam_module.frames import MAX_FRAMES, Prompt, Result, Role, Start, Style, Text, Wait
from tests.pam.scripted import Script, Scripted, ScriptedConnection, password_and_code, saying, scripted
from tests.pam.workshop import Machine, Pam

PERMIT = "auth required pam_permit.so\n"
CODE = Prompt("Code: ", False, Role.OTP)
ACCEPT = encode(Result(0))


def tlv(type_: int, *values: tuple[int, bytes]) -> bytes:
    """A frame by hand, so that it can be wrong."""
    body = bytes([type_]) + b"".join(bytes([tag, *len(value).to_bytes(2, "big")]) + value for tag, value in values)
    return len(body).to_bytes(4, "big") + body


def prompt(text: bytes) -> bytes:
    return tlv(0x81, (16, text), (17, b"\0"), (18, b"otp"))


def drip(connection: ScriptedConnection) -> None:
    """Octet by octet, each soon enough, and never a whole frame in time."""
    connection.start()
    for octet in encode(Text(Style.INFO, "x" * 1000)):
        connection.say(bytes([octet]))
        threading.Event().wait(0.05)


def hang(connection: ScriptedConnection) -> None:
    connection.start()
    connection.wait_for_end()


def hang_after_the_code(connection: ScriptedConnection) -> None:
    connection.start()
    connection.ask()
    connection.wait_for_end()


def restart_at_the_prompt(connection: ScriptedConnection) -> None:
    connection.start()
    connection.say(CODE)


def endless_questions(connection: ScriptedConnection) -> None:
    connection.start()
    for _ in range(MAX_FRAMES * 2):
        connection.ask()
    connection.say(Result(0))


BROKEN: dict[str, Script] = {
    "the end at once": lambda one: None,
    "the end after START": saying(),
    "the end in a header": saying(b"\0\0"),
    "the end in a frame": saying(ACCEPT[:-1]),
    "length 0": saying(b"\0\0\0\0", ACCEPT),
    "oversize": saying((4097).to_bytes(4, "big") + b"\x84" + bytes(4096), ACCEPT),
    "4 GiB": saying(b"\xff\xff\xff\xff", ACCEPT),
    "half a TLV": saying(tlv(0x84) + b"", ACCEPT),
    "a value that overruns": saying(b"\0\0\0\x05\x84\x15\0\x02\0", ACCEPT),
    "a tag twice": saying(tlv(0x84, (21, b"\0"), (21, b"\0"))),
    "a code of two octets": saying(tlv(0x84, (21, b"\0\0"))),
    "no code": saying(tlv(0x84)),
    "a delay too long": saying(tlv(0x84, (21, b"\0"), (22, b"\xff\xff"))),
    "an unknown frame": saying(tlv(0x85, (21, b"\0")), ACCEPT),
    "the module's own frame": saying(tlv(2, (16, b"x")), ACCEPT),
    "a wait too long": saying(tlv(0x83, (20, b"\x00\x79")), ACCEPT),
    "a web server": saying(b"HTTP/1.1 200 OK\r\n\r\n"),
    "an escape sequence": saying(prompt(b"\x1b]0;x\x07"), ACCEPT),
    "a C1 character": saying(prompt("\u009b2J".encode()), ACCEPT),
    "a line end": saying(prompt(b"a\nb"), ACCEPT),
    "a NUL": saying(prompt(b"a\0b"), ACCEPT),
    "no UTF-8": saying(prompt(b"\xff"), ACCEPT),
    "an overlong letter": saying(prompt(b"\xc0\x9b"), ACCEPT),
    "a text with an escape": saying(tlv(0x82, (19, b"\0"), (16, b"\x1b[2J")), ACCEPT),
    "endless texts": saying(*[Text(Style.INFO, "x")] * (MAX_FRAMES + 1), Result(0)),
    "endless questions": endless_questions,
    "a hang": hang,
    "octet by octet": drip,
    "a hang after WAIT": saying(Wait(1), b"\0"),
    "a hang after the code": hang_after_the_code,
    "a restart at the prompt": restart_at_the_prompt,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_service_lets_nobody_in(machine: Machine, name: str) -> None:
    machine.stack("timeout=1", after=PERMIT)
    with scripted(machine.socket, BROKEN[name]):
        seen = machine.login("123456")
    assert seen.result in (Pam.AUTHINFO_UNAVAIL, Pam.AUTH_ERR)
    shown = [text for _, text in seen.prompts] + seen.infos + seen.errors
    assert all(text.isprintable() for text in shown)


ALSO_IGNORED = {"the end at once", "the end after START", "the end in a header", "the end in a frame"}
ALSO_IGNORED |= {"a hang", "octet by octet"}


@pytest.mark.parametrize("name", BROKEN)
def test_only_silence_counts_as_an_outage_that_may_be_ignored(machine: Machine, name: str) -> None:
    """Not what a person could bring about by typing nothing, and not what is broken."""
    machine.stack("timeout=1 on_unavail=ignore", after=PERMIT)
    with scripted(machine.socket, BROKEN[name]):
        seen = machine.login("123456")
    assert (seen.result == Pam.SUCCESS) == (name in ALSO_IGNORED)


@pytest.mark.parametrize("answer", ["x" * 1025, "x" * 5000])
def test_an_answer_too_long_is_refused_and_no_outage(machine: Machine, answer: str) -> None:
    machine.stack("on_unavail=ignore", after=PERMIT)
    with scripted(machine.socket, password_and_code(b"haru", b"1")):
        assert machine.login(answer).result == Pam.AUTH_ERR


@pytest.mark.parametrize("options", ["on_unavail=ignore", "ignore_unknown_user"])
def test_a_name_too_long_is_refused_and_no_outage(machine: Machine, options: str) -> None:
    machine.stack(options, after=PERMIT)
    with scripted(machine.socket, saying(Result(0))) as service:
        assert machine.login(user="t" * 1025).result == Pam.AUTH_ERR
        assert machine.login(actions=[f"rhost={'h' * 1025}", "authenticate"]).result == Pam.AUTH_ERR
        assert service.heard == []
        assert machine.login(user="t" * 256).result == Pam.SUCCESS


def nobody(path: Path) -> None:
    pass


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def no_socket(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("left_behind", [nobody, stale, no_socket])
def test_without_a_listener_no_login_succeeds(machine: Machine, left_behind: Callable[[Path], None]) -> None:
    left_behind(machine.socket)
    machine.stack(after=PERMIT)
    assert machine.login("1").result == Pam.AUTHINFO_UNAVAIL


@pytest.mark.parametrize("options", ["", "on_unavail=ignore"])
def test_nothing_is_sent_to_another_user_s_socket(machine: Machine, options: str) -> None:
    machine.stack(f"{options} server_uid={os.getuid() + 1}", after=PERMIT)
    heard: list[bytes] = []
    with scripted(machine.socket, lambda one: heard.append(one.connection.recv(100))):
        assert machine.login("1").result == Pam.AUTHINFO_UNAVAIL
    assert heard == [b""]


def test_a_full_backlog_is_waited_for_and_not_for_long(machine: Machine) -> None:
    machine.stack("timeout=1", after=PERMIT)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(machine.socket))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(machine.socket))
            assert machine.login("1").result == Pam.AUTHINFO_UNAVAIL


def test_a_restarted_service_serves_the_next_login(machine: Machine) -> None:
    with scripted(machine.socket, restart_at_the_prompt):
        assert machine.login("1").result == Pam.AUTH_ERR
    machine.socket.unlink()
    with scripted(machine.socket, password_and_code(b"haru", b"1")):
        assert machine.login("haru", "1").result == Pam.SUCCESS


def test_a_wait_buys_time_beyond_the_step(machine: Machine) -> None:
    def slow(connection: ScriptedConnection) -> None:
        connection.start()
        connection.say(Wait(60))
        threading.Event().wait(2)
        connection.say(Result(0))

    machine.stack("timeout=1")
    with scripted(machine.socket, slow):
        assert machine.login().result == Pam.SUCCESS


def test_a_result_that_was_sent_before_the_close_counts(machine: Machine) -> None:
    """A service without room says so at once and never reads START."""
    with scripted(machine.socket, lambda one: one.say(Result(3))):
        assert machine.login().result == Pam.MAXTRIES


def test_the_last_of_32_frames_may_be_the_result(machine: Machine) -> None:
    with scripted(machine.socket, saying(*[Text(Style.INFO, "x")] * (MAX_FRAMES - 2), Result(0))):
        assert machine.login().result == Pam.SUCCESS


def test_many_threads_log_in_at_once(machine: Machine) -> None:
    machine.stack("timeout=60")
    service = Scripted(machine.socket, password_and_code(b"haru", b"123456"))
    try:
        assert machine.crowd(32, 50, "haru", "123456") == {Pam.SUCCESS: 32 * 50}
        assert machine.crowd(32, 5, "haru", "111111") == {Pam.AUTH_ERR: 32 * 5}
    finally:
        service.close()
    starts = sum(isinstance(frame, Start) for frame in service.heard)
    assert starts == 32 * 55
