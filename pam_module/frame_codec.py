"""Octets to frames, frames to octets, by the table in frames.py. No sockets, no clock, no customers.

A peer can send any octets: nothing but BadFrame is raised, at the first octet that cannot be right, and memory is
bounded by one frame.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from pam_module.frames import (
    MAX_DELAY_MS,
    MAX_FRAME,
    MAX_VALUE,
    MAX_WAIT_SECONDS,
    SERVICE_BIT,
    VERSION,
    Abort,
    Answer,
    BadFrame,
    Frame,
    FrameFault,
    FrameType,
    Op,
    Prompt,
    Result,
    Role,
    Sender,
    Start,
    Style,
    Tag,
    Text,
    Wait,
)

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_LENGTH_OCTETS = 4
Word = TypeVar("Word", bound=StrEnum)


class FrameDecoder:
    """Decodes the stream of one sender. After one BadFrame every call raises it again."""

    def __init__(self, sender: Sender) -> None:
        self._buffer = bytearray()
        self._from_service = sender == "service"
        self._fault: FrameFault | None = None

    def feed(self, octets: bytes) -> list[Frame]:
        """Take the next octets of the stream, and return the frames that are complete now. Raises BadFrame; frames
        before a bad one in the same octets are lost."""
        if self._fault is not None:
            raise BadFrame(self._fault)
        self._buffer += octets
        try:
            return self._take_frames()
        except BadFrame as error:
            self._fault = error.fault
            self._drop(len(self._buffer))
            raise

    def end(self) -> None:
        """The sender has closed the stream. Raises BadFrame if a frame is incomplete, and after a bad frame."""
        if self._buffer:
            self._drop(len(self._buffer))
            self._fault = FrameFault.INCOMPLETE
        if self._fault is not None:
            raise BadFrame(self._fault)

    def _take_frames(self) -> list[Frame]:
        frames: list[Frame] = []
        while len(self._buffer) >= _LENGTH_OCTETS:
            length = int.from_bytes(self._buffer[:_LENGTH_OCTETS], "big")
            if not 1 <= length <= MAX_FRAME:
                raise BadFrame(FrameFault.LENGTH)
            end = _LENGTH_OCTETS + length
            if len(self._buffer) > _LENGTH_OCTETS:
                self._check_type(self._buffer[_LENGTH_OCTETS])
            if len(self._buffer) < end:
                break
            frames.append(_decode(bytes(self._buffer[_LENGTH_OCTETS:end])))
            self._drop(end)
        return frames

    def _check_type(self, type_: int) -> None:
        if type_ not in _DECODERS or bool(type_ & SERVICE_BIT) != self._from_service:
            raise BadFrame(FrameFault.TYPE)

    def _drop(self, octets: int) -> None:
        """Overwrite before deleting: an answer is a secret, and the buffer keeps its memory."""
        self._buffer[:octets] = bytes(octets)
        del self._buffer[:octets]


def encode(frame: Frame) -> bytes:
    """The frame's octets, its length included. Raises BadFrame for a frame that the other side would refuse."""
    type_, values = _values_of(frame)
    for value in values.values():
        if len(value) > MAX_VALUE:
            raise BadFrame(FrameFault.VALUE_LENGTH)
    body = bytes((type_,)) + b"".join(struct.pack("!BH", tag, len(value)) + value for tag, value in values.items())
    if len(body) > MAX_FRAME:
        raise BadFrame(FrameFault.LENGTH)
    _decode(body)
    return struct.pack("!I", len(body)) + body


def printable(text: str) -> str:
    """The text as a frame can hold it: control characters become spaces, and what is over 1024 octets is cut off."""
    return _CONTROLS.sub(" ", text).encode("utf-8", "replace")[:MAX_VALUE].decode("utf-8", "ignore")


# Decoding: the values of a frame by their tags, then the frame.


class _Values:
    """The TLVs of one frame."""

    def __init__(self, body: bytes) -> None:
        """``body``: the frame from its type octet on. Raises BadFrame."""
        self._found: dict[int, bytes] = {}
        at = 1
        while at < len(body):
            if at + 3 > len(body):
                raise BadFrame(FrameFault.TLV)
            tag, length = struct.unpack_from("!BH", body, at)
            if length > MAX_VALUE:
                raise BadFrame(FrameFault.VALUE_LENGTH)
            at += 3
            if at + length > len(body):
                raise BadFrame(FrameFault.TLV)
            if tag in self._found:
                raise BadFrame(FrameFault.TWICE)
            self._found[tag] = body[at : at + length]
            at += length

    # Each of these raises BadFrame: for a missing value without default, and for a malformed one.

    def octets(self, tag: Tag) -> bytes:
        found = self.optional_octets(tag)
        if found is None:
            raise BadFrame(FrameFault.MISSING)
        return found

    def optional_octets(self, tag: Tag) -> bytes | None:
        found = self._found.get(tag)
        if found is not None and b"\0" in found:
            raise BadFrame(FrameFault.TEXT)
        return found

    def text(self, tag: Tag, default: str | None = None) -> str:
        found = self._found.get(tag)
        if found is None:
            if default is None:
                raise BadFrame(FrameFault.MISSING)
            return default
        try:
            text = found.decode()
        except UnicodeDecodeError:
            raise BadFrame(FrameFault.TEXT) from None
        if _CONTROLS.search(text):
            raise BadFrame(FrameFault.TEXT)
        return text

    def number(self, tag: Tag, octets: int, maximum: int, default: int | None = None) -> int:
        found = self._found.get(tag)
        if found is None:
            if default is None:
                raise BadFrame(FrameFault.MISSING)
            return default
        number = int.from_bytes(found, "big")
        if len(found) != octets or number > maximum:
            raise BadFrame(FrameFault.VALUE)
        return number

    def word(self, tag: Tag, words: type[Word]) -> Word:
        try:
            return words(self.text(tag))
        except ValueError:
            raise BadFrame(FrameFault.VALUE) from None


def _decode_start(values: _Values) -> Start:
    if values.number(Tag.VERSION, 1, 255) != VERSION:
        raise BadFrame(FrameFault.VERSION)
    return Start(
        values.word(Tag.OP, Op),
        values.text(Tag.SERVICE),
        values.text(Tag.USER),
        values.text(Tag.RUSER, ""),
        values.text(Tag.RHOST, ""),
        values.text(Tag.TTY, ""),
        values.number(Tag.FLAGS, 4, 0xFFFF_FFFF, 0),
        values.text(Tag.PROFILE, ""),
        values.optional_octets(Tag.AUTHTOK),
    )


def _decode_prompt(values: _Values) -> Prompt:
    return Prompt(values.text(Tag.TEXT), bool(values.number(Tag.ECHO, 1, 1)), values.word(Tag.ROLE, Role))


_DECODERS: dict[int, Callable[[_Values], Frame]] = {
    FrameType.START: _decode_start,
    FrameType.ANSWER: lambda values: Answer(values.octets(Tag.TEXT)),
    FrameType.ABORT: lambda values: Abort(),
    FrameType.PROMPT: _decode_prompt,
    FrameType.TEXT: lambda values: Text(Style(values.number(Tag.STYLE, 1, 1)), values.text(Tag.TEXT)),
    FrameType.WAIT: lambda values: Wait(values.number(Tag.SECONDS, 2, MAX_WAIT_SECONDS)),
    FrameType.RESULT: lambda values: Result(
        values.number(Tag.CODE, 1, 255), values.number(Tag.DELAY_MS, 2, MAX_DELAY_MS, 0)
    ),
}


def _decode(body: bytes) -> Frame:
    return _DECODERS[body[0]](_Values(body))


# Encoding: the frame's type and its values by their tags.


def _values_of(frame: Frame) -> tuple[FrameType, dict[Tag, bytes]]:
    match frame:
        case Start():
            return FrameType.START, _start_values(frame)
        case Answer(text):
            return FrameType.ANSWER, {Tag.TEXT: text}
        case Abort():
            return FrameType.ABORT, {}
        case Prompt(text, echo, role):
            return FrameType.PROMPT, {Tag.TEXT: _utf8(text), Tag.ECHO: _number(echo, 1), Tag.ROLE: role.encode()}
        case Text(style, text):
            return FrameType.TEXT, {Tag.STYLE: _number(style, 1), Tag.TEXT: _utf8(text)}
        case Wait(seconds):
            return FrameType.WAIT, {Tag.SECONDS: _number(seconds, 2)}
        case Result(code, delay_ms):
            return FrameType.RESULT, {Tag.CODE: _number(code, 1), Tag.DELAY_MS: _number(delay_ms, 2)}


def _start_values(start: Start) -> dict[Tag, bytes]:
    values = {
        Tag.VERSION: _number(VERSION, 1),
        Tag.OP: start.op.encode(),
        Tag.SERVICE: _utf8(start.service),
        Tag.USER: _utf8(start.user),
        Tag.RUSER: _utf8(start.ruser),
        Tag.RHOST: _utf8(start.rhost),
        Tag.TTY: _utf8(start.tty),
        Tag.FLAGS: _number(start.flags, 4),
        Tag.PROFILE: _utf8(start.profile),
    }
    if start.authtok is not None:
        values[Tag.AUTHTOK] = start.authtok
    return values


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadFrame(FrameFault.TEXT) from None


def _number(number: int, octets: int) -> bytes:
    try:
        return int(number).to_bytes(octets, "big")
    except OverflowError:
        raise BadFrame(FrameFault.VALUE) from None
