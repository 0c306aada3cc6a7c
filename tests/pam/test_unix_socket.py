"""The socket file belongs to one service at a time, and what is not its own stays."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pam_module.unix_socket import SocketTaken, UnixListener


def test_a_socket_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = UnixListener(tmp_path / "s", mode=0o600)
    with pytest.raises(SocketTaken, match="another Sekisho"):
        UnixListener(tmp_path / "s", mode=0o600)
    first.close()
    assert not (tmp_path / "s").exists()
    UnixListener(tmp_path / "s", mode=0o600).close()


def test_somebody_else_s_socket_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(SocketTaken, match="another program"):
            UnixListener(tmp_path / "s", mode=0o600)
        assert (tmp_path / "s").is_socket()
    UnixListener(tmp_path / "s", mode=0o600).close()  # nobody answers there now


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="is no socket"):
        UnixListener(tmp_path / "s", mode=0o600)
    assert (tmp_path / "s").read_text() == "precious"
    with pytest.raises(OSError, match="is the folder there"):
        UnixListener(tmp_path / "nowhere" / "s", mode=0o600)
