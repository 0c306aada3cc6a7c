"""Which user may connect, and how much of the service one user may take."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from pam_module.frames import Answer, Prompt, Result, ResultCode
from tests.pam.host import Host, start
from tests.pam.serving import LIMITS, serving

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def as_user(uid: int, path: Path, user: str) -> int:
    """What the service answers to a process of that user; 99: it could not even connect."""
    child = os.fork()
    if child == 0:
        code = 98
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            try:
                with Host(path) as host:
                    host.send(start(user))
                    frame = host.hear()
                    if isinstance(frame, Prompt):
                        host.send(Answer(user.encode()))
                        frame = host.hear()
                    code = frame.code if isinstance(frame, Result) else 97
            except PermissionError:
                code = 99
            except (BrokenPipeError, ConnectionResetError):  # turned away before it could speak
                code = ResultCode.MAXTRIES
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """A folder that others can enter; pytest's own cannot be."""
    folder = Path(f"/tmp/sekisho-pam-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir(mode=0o755)
    return folder


@as_root
def test_other_users_connect_only_with_allow_all_users(reachable: Path) -> None:
    try:
        with serving(reachable) as path:
            assert as_user(65534, path, "nobody") == 99
        with serving(reachable, limits=LIMITS._replace(allow_all_users=True)) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
            assert as_user(65534, path, "nobody") == ResultCode.SUCCESS
            assert as_user(65534, path, "root") == ResultCode.PERM_DENIED
            assert as_user(65534, path, "no-such-user") == ResultCode.PERM_DENIED
            assert as_user(0, path, "nobody") == ResultCode.SUCCESS
    finally:
        for file in reachable.iterdir():
            file.unlink()
        reachable.rmdir()


@as_root
def test_one_user_cannot_take_all_places(reachable: Path) -> None:
    try:
        with serving(reachable, limits=LIMITS._replace(allow_all_users=True, max_per_user=1)) as path:
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                os.setresuid(65534, 65534, 65534)
                host = Host(path)
                host.send(start("nobody"))
                host.hear()
                os.write(write_end, b"1")
                time.sleep(60)
                os._exit(0)
            try:
                assert os.read(read_end, 1) == b"1", "the one place of this user is taken"
                # Few connections of this user: far from MAX_PER_MINUTE and from max_conversations.
                assert as_user(65534, path, "nobody") == ResultCode.MAXTRIES
                assert as_user(0, path, "root") == ResultCode.SUCCESS
            finally:
                os.kill(child, 9)
                os.waitpid(child, 0)
                os.close(read_end)
                os.close(write_end)
            end = time.monotonic() + 60
            while (code := as_user(65534, path, "nobody")) == ResultCode.MAXTRIES and time.monotonic() < end:
                time.sleep(1)  # the service has not yet noticed that the child is gone
            assert code == ResultCode.SUCCESS, "the place is free again"
    finally:
        for file in reachable.iterdir():
            file.unlink()
        reachable.rmdir()


@as_root
def test_one_user_cannot_fill_the_audit_trail(reachable: Path) -> None:
    try:
        with serving(reachable, limits=LIMITS._replace(allow_all_users=True)) as path:
            end = time.monotonic() + 60
            assert as_user(65534, path, "nobody") == ResultCode.SUCCESS
            while as_user(65534, path, "nobody") != ResultCode.MAXTRIES:
                assert time.monotonic() < end
            assert as_user(65533, path, "nobody") == ResultCode.PERM_DENIED, "others are not refused with them"
            assert as_user(0, path, "nobody") == ResultCode.SUCCESS
    finally:
        for file in reachable.iterdir():
            file.unlink()
        reachable.rmdir()
