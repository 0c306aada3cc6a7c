"""The frames that the PAM module and the service exchange, version 1: their table, their limits, their types.

Values only: no octets are read or written here (frame_codec.py does that), no sockets, no clock, no customers.

    u32be length (1..4096: the type and everything after it) | u8 type | TLV*: u8 tag, u16be length (<= 1024), value

    module   1 START    1 version u8 = 1 · 2 op "auth"|"acct" · 3 service · 4 user          (required)
                        5 ruser · 6 rhost · 7 tty · 8 flags u32be · 9 profile · 10 authtok  (optional)
             2 ANSWER   16 text (octets as they were typed)
             3 ABORT
    service  0x81 PROMPT  16 text · 17 echo u8 0|1 · 18 role "none"|"password"|"otp"
             0x82 TEXT    19 style u8 0 info, 1 error · 16 text
             0x83 WAIT    20 seconds u16be <= 120
             0x84 RESULT  21 code u8 · 22 delay_ms u16be <= 10000 (optional: 0)

Tags come in any order, each at most once; a tag that the frame's type does not list is ignored. Texts are UTF-8 without
control characters (C0, DEL, C1). Authtok and the text of an ANSWER are octets without NUL; the dialogue decodes them.
The module's side is src/frames.c; both are tested with tests/pam/vectors/frames.json.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Literal

VERSION = 1
MAX_FRAME = 4096
"""Octets of a frame without its length."""

MAX_VALUE = 1024
"""Octets of one value."""

MAX_FRAMES = 32
"""Frames of one conversation, both directions together."""

MAX_WAIT_SECONDS = 120
MAX_DELAY_MS = 10_000


class ResultCode(IntEnum):
    """The code of a RESULT. A code that is not listed means the same as UNAVAILABLE."""

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
    """The phase of the PAM call: pam_authenticate or pam_acct_mgmt."""

    AUTH = "auth"
    ACCT = "acct"


class Style(IntEnum):
    """How the host shows a text: PAM_TEXT_INFO or PAM_ERROR_MSG."""

    INFO = 0
    ERROR = 1


class FrameFault(StrEnum):
    """Why a frame is refused. The vectors use the names."""

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
    """A frame that breaks the protocol. Nothing after it on this connection can be read."""

    def __init__(self, fault: FrameFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Start:
    """A PAM call begins. ``authtok``: the password that an earlier module of the stack has asked for; None: it has not
    asked."""

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
    """What the person typed at a prompt."""

    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Abort:
    """The person gave up (^C), or the host cannot ask."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question. ``echo``: the answer is shown as it is typed."""

    text: str
    echo: bool
    role: Role


@dataclass(frozen=True, slots=True)
class Text:
    """A message without an answer."""

    style: Style
    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A slow step goes on: the next frame may take up to ``seconds`` from now."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Result:
    """The last frame. Only code 0 is success. ``delay_ms``: how long the host delays a refusal."""

    code: int
    delay_ms: int = 0


FromModule = Start | Answer | Abort
FromService = Prompt | Text | Wait | Result
Frame = FromModule | FromService
Sender = Literal["module", "service"]


class FrameType(IntEnum):
    """The type octet. SERVICE_BIT is set in those that the service sends."""

    START = 1
    ANSWER = 2
    ABORT = 3
    PROMPT = 0x81
    TEXT = 0x82
    WAIT = 0x83
    RESULT = 0x84


SERVICE_BIT = 0x80


class Tag(IntEnum):
    """The tag octet of a value."""

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
