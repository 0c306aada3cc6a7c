"""The module under valgrind and the sanitizers, and its reader of frames against the Python one."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from pam_module.frame_codec import FrameDecoder, encode
from pam_module.frames import BadFrame, Frame, Prompt, Result, Role, Text, Wait
from tests.pam.scripted import ScriptedConnection, password_and_code, scripted
from tests.pam.test_module_faults import BROKEN
from tests.pam.workshop import Machine, Pam, Workshop, run

VECTORS = json.loads((Path(__file__).parent / "vectors/frames.json").read_text())
SECONDS = float(os.environ.get("SEKISHO_FUZZ_SECONDS", "8"))


def test_valgrind_finds_no_error_and_no_leak(workshop: Workshop, short: Path) -> None:
    valgrind = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect"]
    machine = Machine(workshop, short, short / "pam.sock", prefix=tuple(valgrind))
    machine.stack("forward_pass debug timeout=60", after=f"auth required {workshop.neighbour} show\n")
    with scripted(machine.socket, password_and_code(b"haru", b"123456")):
        assert machine.login("haru", "123456", actions=["authenticate", "setcred"]).result == Pam.SUCCESS
        assert machine.login("haru", "1").result == Pam.AUTH_ERR
        assert machine.login("haru", "^C").result == Pam.AUTH_ERR
        assert machine.login("haru", "x" * 2000).result == Pam.AUTH_ERR
    for name in ("a tag twice", "an escape sequence", "oversize", "endless questions"):
        machine.socket.unlink()
        with scripted(machine.socket, BROKEN[name]):
            assert machine.login("1").result in (Pam.AUTHINFO_UNAVAIL, Pam.AUTH_ERR)


def as_line(frame: Frame) -> str:
    match frame:
        case Prompt(text, echo, role):
            return f"PROMPT {int(echo)} {role.value} {text.encode().hex()}"
        case Text(style, text):
            return f"TEXT {style.value} {text.encode().hex()}"
        case Wait(seconds):
            return f"WAIT {seconds}"
        case Result(code, delay_ms):
            return f"RESULT {code} {delay_ms}"
    raise AssertionError(frame)


def python_reads(octets: bytes) -> str:
    """The first frame alone, as the module reads: one after the other."""
    length = int.from_bytes(octets[:4], "big")
    try:
        frames = FrameDecoder("service").feed(octets[: 4 + min(length, 5000)])
    except BadFrame:
        return "bad"
    return as_line(frames[0]) if frames else "bad"


def c_reads(reader: Path, streams: list[bytes]) -> list[str]:
    lines = "".join(f"{octets.hex()}\n" for octets in streams)
    return run([str(reader)], lines).splitlines()


def test_both_readers_agree_on_the_vectors(frame_reader: Path) -> None:
    of_service = [vector for vector in VECTORS if vector["direction"] == "service"]
    streams = [bytes.fromhex(vector["hex"]) for vector in of_service]
    for vector, line in zip(of_service, c_reads(frame_reader, streams), strict=True):
        assert (line == "bad") == ("error" in vector), vector["name"]
        assert line == python_reads(bytes.fromhex(vector["hex"])), vector["name"]


def mutants(chance: random.Random) -> Iterator[bytes]:
    """Frames that are nearly right: the structure is kept, a value, a length, a tag or a letter is not."""
    seeds = [bytes.fromhex(vector["hex"]) for vector in VECTORS]
    letters = ["a", "é", "関", "𠮷", "\x1b", "\x7f", "\u0080", "\u009f", "\u00a0", "\ud7ff", "\ue000", "\U0010ffff"]
    tags = [16, 17, 18, 19, 20, 21, 22, 1, 99, 255]
    while True:
        match chance.randrange(4):
            case 0:
                octets = bytearray(chance.choice(seeds))
                for _ in range(chance.randrange(1, 4)):
                    if octets:
                        octets[chance.randrange(len(octets))] = chance.randrange(256)
                yield bytes(octets)
            case 1:
                yield encode(Prompt("関" * chance.randrange(341), chance.random() < 0.5, chance.choice(list(Role))))
            case 2:
                text = "".join(chance.choice(letters) for _ in range(chance.randrange(6))).encode()
                noise = bytes(chance.choice([0xC0, 0xE0, 0xED, 0xF0, 0xF4, 0xF8, 0x80, 0xBF, 0x9F, 0x41]) for _ in "12")
                yield _frame(
                    chance.choice([0x81, 0x82]),
                    [(16, text + noise[: chance.randrange(3)]), (17, b"\1"), (18, b"otp"), (19, b"\0")],
                )
            case _:
                values = [
                    (chance.choice(tags), chance.randbytes(chance.choice([0, 1, 2, 3, 1024, 1025])))
                    for _ in range(chance.randrange(5))
                ]
                yield _frame(chance.choice([0x81, 0x82, 0x83, 0x84, 0x85, 1]), values, chance.choice([0, 0, 0, 1, -1]))


def _frame(type_: int, values: list[tuple[int, bytes]], off: int = 0) -> bytes:
    body = bytes([type_]) + b"".join(bytes([tag]) + len(v).to_bytes(2, "big") + v for tag, v in values)
    return max(0, len(body) + off).to_bytes(4, "big") + body


def test_both_readers_agree_on_nearly_right_frames(frame_reader: Path) -> None:
    """Under the sanitizers. SEKISHO_FUZZ_SECONDS makes it longer (make fuzz)."""
    seed = random.randrange(2**32)
    source = mutants(random.Random(seed))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        streams = [next(source) for _ in range(2000)]
        for octets, line in zip(streams, c_reads(frame_reader, streams), strict=True):
            assert line == python_reads(octets), f"seed {seed}: {octets.hex()}"


def test_a_hostile_service_breaks_nothing_in_the_host(sanitized_workshop: Workshop, short: Path) -> None:
    """Whole logins under the sanitizers, against a service that answers with nearly right frames."""
    seed = random.randrange(2**32)
    chance, source = random.Random(seed), mutants(random.Random(seed + 1))
    accepted: list[bytes] = []

    def script(connection: ScriptedConnection) -> None:
        connection.start()
        said = b"".join(next(source) for _ in range(chance.randrange(1, 4)))
        accepted.append(said)
        connection.say(said)

    machine = Machine(sanitized_workshop, short, short / "pam.sock")
    machine.stack("timeout=1 forward_pass try_first_pass")
    end = time.monotonic() + SECONDS
    with scripted(machine.socket, script):
        while time.monotonic() < end:
            found = machine.crowd(1, 50, "haru", "123456")
            assert sum(found.values()) == 50, f"seed {seed}"
    assert accepted


def test_the_sanitizers_find_nothing_in_ordinary_logins(sanitized_workshop: Workshop, short: Path) -> None:
    machine = Machine(sanitized_workshop, short, short / "pam.sock")
    machine.stack("forward_pass debug")
    with scripted(machine.socket, password_and_code(b"haru", b"123456")):
        assert machine.crowd(8, 10, "haru", "123456") == {Pam.SUCCESS: 80}
        assert machine.login("^C").result == Pam.AUTH_ERR


def test_the_sanitized_host_is_linked_with_the_sanitizer(sanitized_workshop: Workshop) -> None:
    assert "libasan" in run(["ldd", str(sanitized_workshop.login)])
