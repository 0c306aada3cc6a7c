"""The codec against its vectors, and against any octets at all. The C module's tests read the same vectors."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pam_module.frame_codec import FrameDecoder, encode, printable
from pam_module.frames import (
    MAX_DELAY_MS,
    MAX_FRAME,
    MAX_FRAMES,
    MAX_VALUE,
    MAX_WAIT_SECONDS,
    VERSION,
    Abort,
    Answer,
    BadFrame,
    Frame,
    FrameFault,
    Op,
    Prompt,
    Result,
    Role,
    Sender,
    Start,
    Style,
    Text,
    Wait,
)

VECTORS = json.loads((Path(__file__).parent / "vectors/frames.json").read_text())
GOOD = [vector for vector in VECTORS if "decoded" in vector]
BAD = [vector for vector in VECTORS if "error" in vector]


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def as_vector(frame: Frame) -> dict[str, Any]:
    fields = {
        name: value.decode() if isinstance(value, bytes) else value for name, value in dataclasses.asdict(frame).items()
    }
    if isinstance(frame, Start):
        fields["version"] = VERSION
    return {"type": type(frame).__name__.upper(), **fields}


def read(sender: Sender, octets: bytes) -> list[Frame]:
    stream = FrameDecoder(sender)
    found = stream.feed(octets)
    stream.end()
    return found


@named(GOOD)
def test_a_good_frame_is_read(vector: dict[str, Any]) -> None:
    (frame,) = read(vector["direction"], bytes.fromhex(vector["hex"]))
    assert as_vector(frame) == vector["decoded"]
    assert read(vector["direction"], encode(frame)) == [frame]


@named(BAD)
def test_a_bad_frame_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(BadFrame) as refusal:
        read(vector["direction"], bytes.fromhex(vector["hex"]))
    assert refusal.value.fault is FrameFault[vector["error"]]


def test_what_the_module_or_the_service_leaves_out_is_nothing() -> None:
    start = bytes.fromhex("010001 01") + b"\2\0\4auth" + b"\3\0\4sshd" + b"\4\0\4taro"
    (frame,) = read("module", (1 + len(start)).to_bytes(4, "big") + b"\1" + start)
    assert frame == Start(Op.AUTH, "sshd", "taro") == Start(Op.AUTH, "sshd", "taro", "", "", "", 0, "", None)
    assert read("service", bytes.fromhex("00000005 84 150001 07")) == [Result(7)] == [Result(7, 0)]


def test_both_sides_have_the_same_limits() -> None:
    header = (Path(__file__).parents[2] / "pam_module/src/frames.h").read_text()
    limits = {name: int(number) for name, number in re.findall(r"\b(MAX_[A-Z_]+) = (\d+),", header)}
    assert limits == {
        "MAX_FRAME": MAX_FRAME,
        "MAX_VALUE": MAX_VALUE,
        "MAX_FRAMES": MAX_FRAMES,
        "MAX_WAIT_SECONDS": MAX_WAIT_SECONDS,
        "MAX_DELAY_MS": MAX_DELAY_MS,
    }


def test_every_fault_has_a_vector() -> None:
    assert {vector["error"] for vector in BAD} == {fault.name for fault in FrameFault}


@named(GOOD)
def test_a_frame_that_comes_octet_by_octet_is_the_same(vector: dict[str, Any]) -> None:
    stream, octets = FrameDecoder(vector["direction"]), bytes.fromhex(vector["hex"])
    found = [frame for at in range(len(octets)) for frame in stream.feed(octets[at : at + 1])]
    assert [as_vector(frame) for frame in found] == [vector["decoded"]]


def test_a_refusal_is_final() -> None:
    stream = FrameDecoder("module")
    for octets in (bytes(4), encode(Abort())):
        with pytest.raises(BadFrame):
            stream.feed(octets)


def test_a_wrong_type_is_refused_before_the_frame_is_whole() -> None:
    with pytest.raises(BadFrame):
        FrameDecoder("module").feed(b"\0\0\x10\0\x84")


def test_no_secret_shows_in_a_repr() -> None:
    for frame in (Start(Op.AUTH, "sshd", "taro", authtok=b"haru-no-umi"), Answer(b"haru-no-umi")):
        assert "haru" not in repr(frame)


OCTETS = st.binary(max_size=MAX_VALUE).filter(lambda octets: 0 not in octets)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=256)
FROM_MODULE = st.one_of(
    st.builds(
        Start, st.sampled_from(Op), *[TEXTS.map(lambda text: text[:60])] * 5, st.integers(0, 0xFFFF_FFFF),
        TEXTS.map(lambda text: text[:60]), st.none() | OCTETS,
    ),
    st.builds(Answer, OCTETS),
    st.just(Abort()),
)  # fmt: skip
FROM_SERVICE = st.one_of(
    st.builds(Prompt, TEXTS, st.booleans(), st.sampled_from(Role)),
    st.builds(Text, st.sampled_from(Style), TEXTS),
    st.builds(Wait, st.integers(0, MAX_WAIT_SECONDS)),
    st.builds(Result, st.integers(0, 255), st.integers(0, MAX_DELAY_MS)),
)


@given(st.lists(FROM_MODULE, max_size=4), st.lists(FROM_SERVICE, max_size=4), st.integers(1, 64))
def test_what_is_written_is_read(module: list[Frame], service: list[Frame], piece: int) -> None:
    senders: tuple[tuple[Sender, list[Frame]], ...] = (("module", module), ("service", service))
    for sender, frames in senders:
        octets = b"".join(map(encode, frames))
        stream = FrameDecoder(sender)
        found = [frame for at in range(0, len(octets), piece) for frame in stream.feed(octets[at : at + piece])]
        stream.end()
        assert found == frames


@given(st.sampled_from(["module", "service"]), st.lists(st.binary(max_size=80), max_size=4))
def test_any_octets_are_read_or_refused(sender: Sender, pieces: list[bytes]) -> None:
    stream = FrameDecoder(sender)
    try:
        for piece in pieces:
            stream.feed(piece)
        stream.end()
    except BadFrame:
        return


@given(
    st.sampled_from(["module", "service"]),
    st.sampled_from([1, 2, 3, 0x81, 0x82, 0x83, 0x84]),
    st.lists(st.tuples(st.integers(0, 23), st.binary(max_size=12)), max_size=8),
)
def test_any_values_are_read_or_refused(sender: Sender, type_: int, values: list[tuple[int, bytes]]) -> None:
    body = bytes((type_,)) + b"".join(bytes((tag, 0, len(value))) + value for tag, value in values)
    try:
        (frame,) = read(sender, len(body).to_bytes(4, "big") + body)
    except BadFrame:
        return
    assert read(sender, encode(frame)) == [frame]


@given(st.text(max_size=2000))
def test_any_text_can_be_made_to_fit(text: str) -> None:
    assert read("service", encode(Text(Style.INFO, printable(text)))) == [Text(Style.INFO, printable(text))]


@pytest.mark.parametrize(
    "frame",
    [
        Prompt("a\nb", False, Role.OTP),
        Prompt("x" * (MAX_VALUE + 1), False, Role.OTP),
        Text(Style.INFO, "\udc80"),
        Wait(MAX_WAIT_SECONDS + 1),
        Wait(-1),
        Result(256),
        Result(1, MAX_DELAY_MS + 1),
        Start(Op.AUTH, "x" * MAX_VALUE, "x" * MAX_VALUE, "x" * MAX_VALUE, "x" * MAX_VALUE),
    ],
)
def test_what_the_other_side_would_refuse_is_not_written(frame: Frame) -> None:
    with pytest.raises(BadFrame):
        encode(frame)


def test_the_longest_frame_is_written_and_read() -> None:
    short = Start(Op.AUTH, "x" * MAX_VALUE, "x" * MAX_VALUE, "x" * MAX_VALUE)
    longest = dataclasses.replace(short, rhost="x" * (4 + MAX_FRAME - len(encode(short))))
    assert len(encode(longest)) == 4 + MAX_FRAME
    assert FrameDecoder("module").feed(encode(longest)) == [longest]
    with pytest.raises(BadFrame) as refusal:
        encode(dataclasses.replace(longest, rhost=longest.rhost + "x"))
    assert refusal.value.fault is FrameFault.LENGTH


def test_a_frame_s_memory_is_bounded() -> None:
    """A length over the bound is refused by itself: the decoder does not wait for what would follow."""
    stream = FrameDecoder("module")
    assert stream.feed(MAX_FRAME.to_bytes(4, "big") + b"\1" + bytes(MAX_FRAME - 2)) == []
    with pytest.raises(BadFrame):
        stream.feed(b"\0")
    for length in (MAX_FRAME + 1, 2**32 - 1):
        stream = FrameDecoder("module")
        assert stream.feed(length.to_bytes(4, "big")[:3]) == []
        with pytest.raises(BadFrame) as refusal:
            stream.feed(length.to_bytes(4, "big")[3:])
        assert refusal.value.fault is FrameFault.LENGTH


def test_a_text_for_a_terminal_has_no_controls_and_whole_characters() -> None:
    assert printable("a\nb\x1b[2Jc") == "a b [2Jc"
    assert printable("\ud800") == "?"
    assert printable("あ" * 400) == "あ" * 341


def test_a_stream_that_ended_in_the_middle_of_a_frame_stays_broken() -> None:
    stream = FrameDecoder("module")
    assert stream.feed(b"\0\0\0\5") == []
    for again in (stream.end, stream.end, lambda: stream.feed(b"")):
        with pytest.raises(BadFrame) as refusal:
            again()
        assert (refusal.value.fault, str(refusal.value)) == (FrameFault.INCOMPLETE, FrameFault.INCOMPLETE.value)
