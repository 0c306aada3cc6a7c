"""A host for the tests: it sends what the PAM module sends, frame by frame, so that a test can also send wrong ones."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from pam_module.frame_codec import FrameDecoder, encode
from pam_module.frames import Abort, Answer, Frame, Op, Prompt, Result, Start, Text, Wait

PATIENCE = 60.0


@dataclass
class Login:
    """What happened in a login. ``code`` is None if no RESULT came."""

    code: int | None = None
    delay_ms: int = 0
    prompts: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    waits: int = 0


class Host:
    """One connection to the service."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._decoder = FrameDecoder("service")
        self._arrived: list[Frame] = []

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, frame: Frame | bytes) -> None:
        self.socket.sendall(frame if isinstance(frame, bytes) else encode(frame))

    def hear(self) -> Frame | None:
        """The next frame; None at the end."""
        while not self._arrived:
            try:
                octets = self.socket.recv(4096)
            except ConnectionResetError:
                return None
            if not octets:
                return None
            self._arrived += self._decoder.feed(octets)
        return self._arrived.pop(0)

    def result(self) -> Result | None:
        """Read to the end, and return the RESULT if there was one."""
        found = None
        while (frame := self.hear()) is not None:
            found = frame if isinstance(frame, Result) else found
        return found


def start(user: str, **more: object) -> Start:
    return Start(**{"op": Op.AUTH, "service": "sshd", "user": user, **more})  # type: ignore[arg-type]


def login(path: Path, user: str, *answers: str | bytes | None, **more: object) -> Login:
    """A whole PAM call. The last answer is given again and again, as sshd's password method does; None gives up."""
    went, left = Login(), list(answers)
    with Host(path) as host:
        host.send(start(user, **more))
        while (frame := host.hear()) is not None:
            match frame:
                case Prompt(text, _, role):
                    went.prompts.append(text)
                    went.roles.append(role.value)
                    answer = left.pop(0) if len(left) > 1 else left[0]
                    octets = answer.encode() if isinstance(answer, str) else answer
                    host.send(Abort() if octets is None else Answer(octets))
                case Text(_, text):
                    went.texts.append(text)
                case Wait():
                    went.waits += 1
                case Result(code, delay_ms):
                    went.code, went.delay_ms = code, delay_ms
    return went


def wait_for(path: Path, seconds: float = PATIENCE) -> None:
    """Return when a process listens there."""
    end = time.monotonic() + seconds
    while True:
        try:
            Host(path).socket.close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
