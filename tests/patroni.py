"""Three machines with PostgreSQL, Patroni and etcd, each in a network namespace of its own, by the lines of
docs/postgresql.md; and what can happen to them. For root.

The machines are 10.99.0.1 to .3 at a bridge that is in a namespace of its own too: nothing of it can be reached from
outside, and nothing in it reaches anything else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.ldap.certificates import Authority
from tests.postgresql import own_folder, programs

PAGE = Path(__file__).parent.parent / "docs/postgresql.md"
PROGRAMS = Path(os.environ.get("SEKISHO_PATRONI", Path(__file__).parent.parent / "build/patroni")) / "bin"
NETWORK = "10.99.0"
PASSWORDS = {
    name: f"the {name.lower()} of the soak"
    for name in ("SUPERUSER-PASSWORD", "REPLICATION-PASSWORD", "OWNER-PASSWORD", "SERVING-PASSWORD")
}
_CLONE_NEWNET = 0x40000000
_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")


def block(beginning: str) -> str:
    """The block of the page that begins so, without its fence or indentation."""
    text = PAGE.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    indented = [
        re.sub(r"^    ", "", one, flags=re.M)
        for one in re.findall(r"(?:^    .*\n)+", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    ]
    (found,) = (str(one) for one in (*fenced, *indented) if one.startswith(beginning))
    return found


@contextlib.contextmanager
def network_of_its_own() -> Iterator[None]:
    """This thread, and every thread and process that it starts, has a network that is connected to nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "machines", "type", "bridge")
        _run("ip", "addr", "add", f"{NETWORK}.254/24", "dev", "machines")
        _run("ip", "link", "set", "machines", "up")
        yield
    finally:
        assert libc.setns(before, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(before)


class Machine:
    """One of the three: ``number`` 1 to 3."""

    def __init__(self, number: int, folder: Path, authority: Authority) -> None:
        self.name, self.address = f"db{number}", f"{NETWORK}.{number}"
        self.folder = folder / self.name
        self.data = self.folder / "data"
        self._keeper = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], start_new_session=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._connect_network(number)
        self.folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=1g", "none", str(self.folder))
        own_folder(self.folder)
        self._write_files(authority)

    def _connect_network(self, number: int) -> None:
        own = Path(f"/proc/{self._keeper.pid}/ns/net")
        while own.readlink() == Path("/proc/thread-self/ns/net").readlink():
            time.sleep(0.01)
        _run("ip", "link", "add", f"m{number}", "type", "veth", "peer", "name", "eth0", "netns", str(self._keeper.pid))
        _run("ip", "link", "set", f"m{number}", "master", "machines", "up")
        for command in ("ip link set lo up", f"ip addr add {self.address}/24 dev eth0", "ip link set eth0 up"):
            self.run(*command.split())

    def _write_files(self, authority: Authority) -> None:
        pem, key = authority.issue(self.name, self.address)
        for file, name in ((pem, "server.pem"), (key, "server.key"), (authority.file, "ca.pem")):
            shutil.copy(file, self.folder / name)
        text = self.here(block("scope: otp"))
        assert "mode: automatic" in text
        text = text.replace("mode: automatic", 'mode: "off"')  # whatever watchdog this machine has is not ours
        (self.folder / "patroni.yml").write_text(text)
        _run("chown", "-R", "postgres:postgres", str(self.folder))
        for name in ("server.key", "patroni.yml"):
            (self.folder / name).chmod(0o600)

    def here(self, text: str) -> str:
        """Lines of the page as they are on this machine of the soak."""
        text = text.replace("--name db1", f"--name {self.name}").replace("name: db1", f"name: {self.name}")
        text = re.sub(r"(listen\S*|connect_address:?|urls) (http://)?db1:", rf"\g<1> \g<2>{self.address}:", text)
        text = re.sub(r"db(\d):", rf"{NETWORK}.\1:", text)
        for path, own in {
            "/var/lib/etcd/otp": "etcd",
            "/var/lib/postgresql/otp": "data",
            "/run/postgresql": "",
            "/etc/otp": "",
        }.items():
            text = text.replace(path, str(self.folder / own).rstrip("/"))
        for name, value in PASSWORDS.items():
            text = text.replace(name, value)
        return text.replace("/usr/lib/postgresql/15/bin", str(programs()))

    def run(self, *command: str) -> str:
        """A command on this machine; what it printed."""
        return _run("nsenter", "-t", str(self._keeper.pid), "-n", *command)

    def start_etcd(self) -> None:
        """As the page says. Its times are longer: this machine has two cores for all of it."""
        command = (
            self.here(block("etcd --name"))
            .replace("-interval 100", "-interval 300")
            .replace("-timeout 1000", "-timeout 3000")
        )
        self._start("etcd", *shlex.split(command.replace("\\\n", " ")))

    def stop_etcd(self) -> None:
        """At once."""
        etcd = self._processes.pop("etcd")
        etcd.kill()  # nsenter and setpriv have become it
        etcd.wait(20)

    def start_patroni(self) -> None:
        """As the page says."""
        self._start("patroni", str(PROGRAMS / "patroni"), str(self.folder / "patroni.yml"))

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["nsenter", "-t", str(self._keeper.pid), "-n", *_AS_POSTGRES, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder)},
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        """Whether neither Patroni nor etcd has ended by itself."""
        return all(one.poll() is None for one in self._processes.values())

    @property
    def pids(self) -> list[int]:
        """PostgreSQL's and Patroni's."""
        found = [one.pid for name, one in self._processes.items() if name == "patroni" and one.poll() is None]
        with contextlib.suppress(OSError, ValueError, IndexError):
            found.append(int((self.data / "postmaster.pid").read_text().split()[0]))
        return [pid for one in found for pid in _with_children(one)]

    def kill(self) -> None:
        """As if it had lost its power; etcd goes on, or there would be no majority for several of them."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._processes.pop("patroni").wait(20)

    def pause(self) -> list[int]:
        """Nothing of it runs; what ``wake`` needs."""
        pids = self.pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return pids

    @staticmethod
    def wake(pids: list[int]) -> None:
        """It goes on where it was."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Not an octet can be written there any more."""
        filling = self.folder / "filling"
        try:
            with contextlib.suppress(OSError), filling.open("wb") as file:
                while True:
                    file.write(bytes(1 << 16))
            yield
        finally:
            filling.unlink()

    @contextlib.contextmanager
    def cut_off(self, *others: str) -> Iterator[None]:
        """Every packet between it and these addresses is dropped; none named: all others."""
        rules = [
            (chain, end, one)
            for one in others or (f"{NETWORK}.0/24",)
            for chain, end in (("INPUT", "-s"), ("OUTPUT", "-d"))
        ]
        for chain, end, one in rules:
            self.run("iptables", "-I", chain, "-i" if chain == "INPUT" else "-o", "eth0", end, one, "-j", "DROP")
        try:
            yield
        finally:
            for chain, end, one in rules:
                self.run("iptables", "-D", chain, "-i" if chain == "INPUT" else "-o", "eth0", end, one, "-j", "DROP")

    def ask(self, statement: str, *, user: str = "postgres", database: str = "postgres") -> list[tuple[object, ...]]:
        """Of this server, over its socket, as the superuser."""
        with psycopg.connect(
            host=self.address,
            user=user,
            dbname=database,
            password=PASSWORDS["SUPERUSER-PASSWORD" if user == "postgres" else "OWNER-PASSWORD"],
            autocommit=True,
            connect_timeout=2,
            sslmode="require",
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @property
    def role(self) -> str:
        """What Patroni says: primary, replica, or nothing."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, 8008), 1) as one:
            one.settimeout(2)
            one.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: one.recv(65536), b""))
            found = re.search(rb'"role": "(\w+)"', answer)
            return found[1].decode() if found and b'"state": "running"' in answer else ""
        return ""

    def end(self) -> None:
        """All of it."""
        for pid in [*self.pids, *(one.pid for one in self._processes.values()), self._keeper.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one in (*self._processes.values(), self._keeper):
            one.wait(20)
        _run("umount", "-l", str(self.folder))


class Machines:
    """All three, with the roles and the database of the page."""

    def __init__(self, folder: Path) -> None:
        certificates = folder / "certificates"
        certificates.mkdir()
        self.authority = Authority(certificates)
        self.all = [Machine(number, folder, self.authority) for number in (1, 2, 3)]

    def start(self) -> None:
        """Ready when the leader has two standbys of its quorum."""
        self.start_etcd()
        for one in self.all:
            one.start_patroni()
        self.wait_until_whole(90)
        self._make_roles()

    def start_etcd(self) -> None:
        """On each machine."""
        for one in self.all:
            one.start_etcd()

    def stop_etcd(self) -> None:
        """On each machine, at once."""
        for one in self.all:
            one.stop_etcd()

    def _make_roles(self) -> None:
        as_superuser, as_owner = block("CREATE ROLE sekisho_owner"), block("GRANT USAGE ON SCHEMA")
        leader = self.leader
        for statement in leader.here(as_superuser).split(";\n"):
            if statement.strip():
                leader.ask(statement)
        for statement in leader.here(as_owner).split(";\n"):
            if statement.strip():
                leader.ask(statement, user="sekisho_owner", database="sekisho")

    @property
    def leader(self) -> Machine:
        """Raises AssertionError as long as there is none."""
        for one in self.all:
            if one.role == "primary":
                return one
        raise AssertionError("nobody leads")

    def wait_until_whole(self, seconds: float = 120) -> Machine:
        """The leader, as soon as both others are in its quorum."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError, psycopg.Error):
                leader = self.leader
                if leader.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") == [(2,)]:
                    return leader
            assert time.monotonic() < end and all(one.runs for one in self.all), "".join(
                (one.folder / "patroni.log").read_text()[-3000:] for one in self.all
            )
            time.sleep(0.2)

    def url(self, user: str) -> str:
        """As the settings have it."""
        return f"postgresql://{user}@{','.join(f'{one.address}:5432' for one in self.all)}/sekisho"

    def forget_leader(self) -> None:
        """As if the lock of the leader who was lost had lapsed: 20 s are not waited for."""
        for one in self.all:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run(
                    "env",
                    "ETCDCTL_API=3",
                    "etcdctl",
                    f"--endpoints=http://{one.address}:2379",
                    "del",
                    "/service/otp/leader",
                )
                return

    def end(self) -> None:
        """All of them."""
        for one in self.all:
            one.end()


@contextlib.contextmanager
def machines() -> Iterator[Machines]:
    """Running, in a network of their own, which the caller is in."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-patroni-"))
    folder.chmod(0o755)
    with network_of_its_own():
        made = Machines(folder)
        try:
            made.start()
            yield made
        finally:
            made.end()
            shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def _with_children(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _with_children(int(child))
    return found
