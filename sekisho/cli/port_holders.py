"""Which process holds a port of this machine, as /proc says it (proc(5)). It reads, and connects to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

_LISTENS = "0A"
"""A TCP socket's state in /proc/net/tcp."""

_OURS = "sekisho "
"""How the names of the server's processes begin (sekisho/child.py)."""


class Holder(NamedTuple):
    """A process that has a socket at the port. ``ours``: it belongs to a server of the store that was asked about."""

    pid: int
    name: str
    ours: bool


def holders(kind: str, host: str, port: int, store: Path | None) -> list[Holder]:
    """The processes with a socket (``kind``: udp, tcp) at this port that keeps others from ``host``. Empty if there is
    none, or none that this user may look into."""
    inodes = {inode for at, inode in _sockets(kind, port) if _clash(at, host)}
    found = {pid: _name(pid) for pid in _pids() if inodes & set(_socket_inodes(pid))} if inodes else {}
    serving = {
        _parent(pid) for pid in _pids() if _name(pid).startswith(_OURS) and (store is None or _has_open(pid, store))
    }
    return [Holder(pid, name, pid in serving or _belongs(pid, serving)) for pid, name in sorted(found.items())]


def _belongs(pid: int, serving: set[int]) -> bool:
    """Whether one of the servers whose first processes are ``serving`` has started it."""
    return _name(pid).startswith(_OURS) and _parent(pid) in serving


def _sockets(kind: str, port: int) -> Iterator[tuple[str, str]]:
    """Local address and inode of each socket at this port."""
    for table in (kind, f"{kind}6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            at, _, hexadecimal = fields[1].partition(":")
            if int(hexadecimal, 16) == port and (kind == "udp" or fields[3] == _LISTENS):
                yield _address(at), fields[9]


def _address(text: str) -> str:
    """The kernel prints each 32 bits of an address as a number of this machine."""
    octets = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return str(ip_address(octets))


def _clash(one: str, other: str) -> bool:
    first, second = ip_address(one), ip_address(other.partition("%")[0])
    if first == second or (first.is_unspecified and first.version == second.version):
        return True
    if isinstance(first, IPv6Address) and second.version == 4:
        return first.is_unspecified or first.ipv4_mapped == second
    return second.is_unspecified and first.version == second.version


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _socket_inodes(pid: int) -> Iterator[str]:
    for target in _open_files(pid):
        if target.startswith("socket:["):
            yield target[8:-1]


def _open_files(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue


def _has_open(pid: int, file: Path) -> bool:
    return str(file.resolve()) in _open_files(pid)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0
