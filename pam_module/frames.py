"""Octets to frames, frames to octets: what the PAM module and the service say to one another, version 1.

No sockets, no clock, no customers. Nothing that a peer can send raises anything but BadFrame, at the first octet that
cannot be right; memory is bounded by one frame.

    u32be length (1..4096: the type and everything after it) | u8 type | TLV*: u8 tag, u16be length (<= 1024), value

    module   1 START    1 version u8 = 1 · 2 op "auth"|"acct" · 3 service · 4 user          (required)
                        5 ruser · 6 rhost · 7 tty · 8 flags u32be · 9 profile · 10 authtok  (may be left out)
             2 ANSWER   16 text (octets as they were typed)
             3 ABORT
    service  0x81 PROMPT  16 text · 17 echo u8 0|1 · 18 role "none"|"password"|"otp"
             0x82 TEXT    19 style u8 0 info, 1 error · 16 text
             0x83 WAIT    20 seconds u16be <= 120
             0x84 RESULT  21 code u8 · 22 delay_ms u16be <= 10000 (may be left out: 0)

Tags come in any order, each at most once; a tag that the frame's type does not list is ignored. Texts are UTF-8 without
control characters (C0, DEL, C1); authtok and an answer are octets without NUL, since only the profile says how to
read them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal, TypeVar

VERSION = 1
MAX_FRAME = 4096
MAX_VALUE = 1024
MAX_FRAMES = 32
"""Of one conversation, both directions together."""

MAX_WAIT_SECONDS = 120
MAX_DELAY_MS = 10_000
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


class ResultCode(IntEnum):
    """What RESULT says; whatever is not here means the same as UNAVAILABLE."""

    SUCCESS = 0
    AUTH_ERR = 1
    USER_UNKNOWN = 2
    MAXTRIES = 3
    ACCT_EXPIRED = 4
    NEW_AUTHTOK_REQD = 5
    PERM_DENIED = 6
    IGNORE = 7
    UNAVAILABLE = 255


class Role(StrEnum):
    """What a prompt asks for."""

    NONE = "none"
    PASSWORD = "password"
    OTP = "otp"


class Op(StrEnum):
    AUTH = "auth"
    ACCT = "acct"


class Style(IntEnum):
    INFO = 0
    ERROR = 1


class FrameFault(StrEnum):
    """Why a frame is refused. The names stand in the vectors, too."""

    LENGTH = "a frame of no or more than 4096 octets"
    TYPE = "an unknown type, or one of the other direction"
    TLV = "a tag without its length, or a value that overruns the frame"
    VALUE_LENGTH = "a value of more than 1024 octets"
    TWICE = "a tag twice"
    MISSING = "a required tag is missing"
    VALUE = "a value of the wrong size, or out of its range"
    TEXT = "a text that is not UTF-8, or holds a control character"
    VERSION = "a version that is not served here"
    INCOMPLETE = "the end in the midst of a frame"


class BadFrame(Exception):
    """Nothing more of this connection can be understood."""

    def __init__(self, fault: FrameFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Start:
    """A PAM call begins. ``authtok``: what an earlier module of the stack asked for."""

    op: Op
    service: str
    user: str
    ruser: str = ""
    rhost: str = ""
    tty: str = ""
    flags: int = 0
    profile: str = ""
    authtok: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Abort:
    """The person gave up (^C), or the host cannot ask."""


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    echo: bool
    role: Role


@dataclass(frozen=True, slots=True)
class Text:
    style: Style
    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A slow step goes on: another so many seconds may pass until the next frame."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Result:
    """The last frame. Only code 0 is success."""

    code: int
    delay_ms: int = 0


FromModule = Start | Answer | Abort
FromService = Prompt | Text | Wait | Result
Frame = FromModule | FromService
Sender = Literal["module", "service"]


class _Type(IntEnum):
    START = 1
    ANSWER = 2
    ABORT = 3
    PROMPT = 0x81
    TEXT = 0x82
    WAIT = 0x83
    RESULT = 0x84


_SERVICE_BIT = 0x80


class _Tag(IntEnum):
    VERSION = 1
    OP = 2
    SERVICE = 3
    USER = 4
    RUSER = 5
    RHOST = 6
    TTY = 7
    FLAGS = 8
    PROFILE = 9
    AUTHTOK = 10
    TEXT = 16
    ECHO = 17
    ROLE = 18
    STYLE = 19
    SECONDS = 20
    CODE = 21
    DELAY_MS = 22


class Frames:
    """The stream of one sender. Feed it what arrives; a refusal is final."""

    def __init__(self, sender: Sender) -> None:
        self._buffer = bytearray()
        self._from_service = sender == "service"
        self._broken: FrameFault | None = None

    def feed(self, octets: bytes) -> list[Frame]:
        """The frames that are whole now. Raises BadFrame; the frames before a bad one are lost with it."""
        if self._broken is not None:
            raise BadFrame(self._broken)
        self._buffer += octets
        try:
            return self._take_all()
        except BadFrame as error:
            self._broken = error.fault
            self._wipe(len(self._buffer))
            raise

    def end(self) -> None:
        """The other side has closed. Raises BadFrame in the midst of a frame."""
        if self._buffer:
            self._wipe(len(self._buffer))
            self._broken = FrameFault.INCOMPLETE
            raise BadFrame(FrameFault.INCOMPLETE)

    def _take_all(self) -> list[Frame]:
        frames: list[Frame] = []
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if not 1 <= length <= MAX_FRAME:
                raise BadFrame(FrameFault.LENGTH)
            if len(self._buffer) > 4:
                self._check_type(self._buffer[4])
            if len(self._buffer) < 4 + length:
                break
            frames.append(_read(bytes(self._buffer[4 : 4 + length])))
            self._wipe(4 + length)
        return frames

    def _check_type(self, type_: int) -> None:
        if type_ not in _READERS or bool(type_ & _SERVICE_BIT) != self._from_service:
            raise BadFrame(FrameFault.TYPE)

    def _wipe(self, octets: int) -> None:
        """An answer is a secret: it does not stay in the buffer's spare room."""
        self._buffer[:octets] = bytes(octets)
        del self._buffer[:octets]


def encode(frame: Frame) -> bytes:
    """The frame's octets. Raises BadFrame for what the other side would refuse."""
    type_, values = _parts(frame)
    for value in values.values():
        if len(value) > MAX_VALUE:
            raise BadFrame(FrameFault.VALUE_LENGTH)
    body = bytes((type_,)) + b"".join(struct.pack("!BH", tag, len(value)) + value for tag, value in values.items())
    if len(body) > MAX_FRAME:
        raise BadFrame(FrameFault.LENGTH)
    _read(body)
    return struct.pack("!I", len(body)) + body


def fits(text: str) -> str:
    """The text as a frame can hold it: control characters become spaces, what is over 1024 octets is cut off."""
    return _CONTROLS.sub(" ", text).encode("utf-8", "replace")[:MAX_VALUE].decode("utf-8", "ignore")


# Reading: a frame's values by tag in, the frame out.


Word = TypeVar("Word", bound=StrEnum)


class _Values:
    """The TLVs of one frame, read as the table at the top has them."""

    def __init__(self, body: bytes) -> None:
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

    def octets(self, tag: _Tag) -> bytes:
        found = self.optional_octets(tag)
        if found is None:
            raise BadFrame(FrameFault.MISSING)
        return found

    def optional_octets(self, tag: _Tag) -> bytes | None:
        found = self._found.get(tag)
        if found is not None and b"\0" in found:
            raise BadFrame(FrameFault.TEXT)
        return found

    def text(self, tag: _Tag, default: str | None = None) -> str:
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

    def number(self, tag: _Tag, octets: int, most: int, default: int | None = None) -> int:
        found = self._found.get(tag)
        if found is None:
            if default is None:
                raise BadFrame(FrameFault.MISSING)
            return default
        number = int.from_bytes(found, "big")
        if len(found) != octets or number > most:
            raise BadFrame(FrameFault.VALUE)
        return number

    def word(self, tag: _Tag, words: type[Word]) -> Word:
        try:
            return words(self.text(tag))
        except ValueError:
            raise BadFrame(FrameFault.VALUE) from None


def _read_start(values: _Values) -> Start:
    if values.number(_Tag.VERSION, 1, 255) != VERSION:
        raise BadFrame(FrameFault.VERSION)
    return Start(
        values.word(_Tag.OP, Op),
        values.text(_Tag.SERVICE),
        values.text(_Tag.USER),
        values.text(_Tag.RUSER, ""),
        values.text(_Tag.RHOST, ""),
        values.text(_Tag.TTY, ""),
        values.number(_Tag.FLAGS, 4, 0xFFFF_FFFF, 0),
        values.text(_Tag.PROFILE, ""),
        values.optional_octets(_Tag.AUTHTOK),
    )


def _read_prompt(values: _Values) -> Prompt:
    return Prompt(values.text(_Tag.TEXT), bool(values.number(_Tag.ECHO, 1, 1)), values.word(_Tag.ROLE, Role))


_READERS: dict[int, Callable[[_Values], Frame]] = {
    _Type.START: _read_start,
    _Type.ANSWER: lambda values: Answer(values.octets(_Tag.TEXT)),
    _Type.ABORT: lambda values: Abort(),
    _Type.PROMPT: _read_prompt,
    _Type.TEXT: lambda values: Text(Style(values.number(_Tag.STYLE, 1, 1)), values.text(_Tag.TEXT)),
    _Type.WAIT: lambda values: Wait(values.number(_Tag.SECONDS, 2, MAX_WAIT_SECONDS)),
    _Type.RESULT: lambda values: Result(
        values.number(_Tag.CODE, 1, 255), values.number(_Tag.DELAY_MS, 2, MAX_DELAY_MS, 0)
    ),
}


def _read(body: bytes) -> Frame:
    return _READERS[body[0]](_Values(body))


# Writing.


def _parts(frame: Frame) -> tuple[_Type, dict[_Tag, bytes]]:
    match frame:
        case Start():
            return _Type.START, _start_values(frame)
        case Answer(text):
            return _Type.ANSWER, {_Tag.TEXT: text}
        case Abort():
            return _Type.ABORT, {}
        case Prompt(text, echo, role):
            return _Type.PROMPT, {_Tag.TEXT: _octets(text), _Tag.ECHO: _number(echo, 1), _Tag.ROLE: role.encode()}
        case Text(style, text):
            return _Type.TEXT, {_Tag.STYLE: _number(style, 1), _Tag.TEXT: _octets(text)}
        case Wait(seconds):
            return _Type.WAIT, {_Tag.SECONDS: _number(seconds, 2)}
        case Result(code, delay_ms):
            return _Type.RESULT, {_Tag.CODE: _number(code, 1), _Tag.DELAY_MS: _number(delay_ms, 2)}


def _start_values(start: Start) -> dict[_Tag, bytes]:
    values = {
        _Tag.VERSION: _number(VERSION, 1),
        _Tag.OP: start.op.encode(),
        _Tag.SERVICE: _octets(start.service),
        _Tag.USER: _octets(start.user),
        _Tag.RUSER: _octets(start.ruser),
        _Tag.RHOST: _octets(start.rhost),
        _Tag.TTY: _octets(start.tty),
        _Tag.FLAGS: _number(start.flags, 4),
        _Tag.PROFILE: _octets(start.profile),
    }
    if start.authtok is not None:
        values[_Tag.AUTHTOK] = start.authtok
    return values


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadFrame(FrameFault.TEXT) from None


def _number(number: int, octets: int) -> bytes:
    try:
        return int(number).to_bytes(octets, "big")
    except OverflowError:
        raise BadFrame(FrameFault.VALUE) from None
