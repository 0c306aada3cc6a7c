"""A service for the module's tests: it sends what a script tells it, right or wrong, and records what it receives."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pam_module.frame_codec import FrameDecoder, encode
from pam_module.frames import Abort, Answer, Frame, Prompt, Result, Role, Start

PATIENCE = 60.0


class ScriptedConnection:
    """One connection of the module, in the hands of the script."""

    def __init__(self, connection: socket.socket, heard: list[Frame]) -> None:
        self.connection = connection
        self._decoder = FrameDecoder("module")
        self._arrived: list[Frame] = []
        self._heard = heard

    def say(self, *frames: Frame | bytes) -> None:
        for frame in frames:
            self.connection.sendall(frame if isinstance(frame, bytes) else encode(frame))

    def hear(self) -> Frame:
        """The next frame. Raises EOFError at the end."""
        while not self._arrived:
            octets = self.connection.recv(4096)
            if not octets:
                raise EOFError
            self._arrived += self._decoder.feed(octets)
        self._heard.append(self._arrived[0])
        return self._arrived.pop(0)

    def start(self) -> Start:
        frame = self.hear()
        assert isinstance(frame, Start)
        return frame

    def ask(self, text: str = "Code: ", role: Role = Role.OTP, *, echo: bool = False) -> bytes:
        self.say(Prompt(text, echo, role))
        match self.hear():
            case Answer(answer):
                return answer
            case Abort():
                raise EOFError
            case other:
                raise AssertionError(other)

    def wait_for_end(self) -> None:
        """Send nothing more, and wait until the module closes."""
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass


Script = Callable[[ScriptedConnection], None]


class Scripted:
    """Listens at ``path`` and runs the script for every connection. ``heard``: every frame received, in order."""

    def __init__(self, path: Path, script: Script, *, backlog: int = 128) -> None:
        self.heard: list[Frame] = []
        self.failures: list[BaseException] = []
        self._script = script
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(backlog)
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            thread = threading.Thread(target=self._play, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _play(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._script(ScriptedConnection(connection, self.heard))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                pass
            except BaseException as error:
                self.failures.append(error)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)


@contextlib.contextmanager
def scripted(path: Path, script: Script) -> Iterator[Scripted]:
    service = Scripted(path, script)
    try:
        yield service
    finally:
        service.close()
    assert not service.failures, service.failures


def saying(*frames: Frame | bytes) -> Script:
    """Receive START, send this, and close."""

    def script(connection: ScriptedConnection) -> None:
        connection.start()
        connection.say(*frames)

    return script


def password_and_code(password: bytes, code: bytes) -> Script:
    """An ordinary login with two prompts."""

    def script(connection: ScriptedConnection) -> None:
        connection.start()
        right = connection.ask("Password: ", Role.PASSWORD) == password
        right = (connection.ask("Code: ", Role.OTP) == code) and right
        connection.say(Result(0) if right else Result(1, 1500))

    return script
