"""A whole Sekisho for a test: a folder, a store, customers with tokens, and a real server process on free ports.

It speaks to the server as a stranger would (UDP, signals, the log on standard error) and to the store through the desk.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyotp

from otp_core.accounts import Desk, Principal, PrincipalKind
from otp_core.audit import Ids
from otp_core.first_factor.hashes import hash_password
from otp_core.model import TokenSpec
from otp_core.store.loop_guard import COMPLAINT
from otp_core.store.mark import mark_path
from otp_core.store.queries import AuditFilter, AuditLine, audit_rows
from otp_core.store.sqlite.database import open_engine, upgrade
from otp_core.store.store import Store, initialise
from otp_core.store.unit_of_work import NewCustomer
from sekisho.settings import Settings, load
from sekisho.wiring import cost_of, open_desk, open_store
from tests import postgresql, preloaded
from tests.store_away import away

SECRET = "correct-horse-battery-1"
PASSWORD = "himitsu-no-aikotoba"
STAFF = Principal("staff", PrincipalKind.COMMAND)
_PROGRAM = [sys.executable, "-m", "sekisho"]
_CHECKPOINTS = "sekisho checkpo"
"""The kernel keeps 15 letters of a name."""
_SEALS = "sekisho seals"
_LOWEST_PORT = 20_000
"""Of those that ``free_port`` gives: above the ones that programs have by default."""
_LISTENING = re.compile(r"listening.*?address=(\S+).*door=radius")


@dataclass
class Customer:
    """Somebody with a token in their hand."""

    contract_id: str
    password: str
    token_id: str
    seed: bytes
    digits: int = 6

    def code(self, steps_away: int = 0, at: float | None = None) -> str:
        """What the token shows now, or ``steps_away`` steps from now."""
        totp = pyotp.TOTP(base64.b32encode(self.seed).decode(), digits=self.digits)
        return totp.at((time.time() if at is None else at) + 30 * steps_away)

    def previous_code(self) -> str:
        """The code of the step before, at a moment when that will be taken for some seconds more."""
        left = 30 - time.time() % 30
        if left < 3:
            time.sleep(left + 0.01)
        return self.code(-1)

    def next_code(self, used: str) -> str:
        """A code that is good behind a used one: what the token shows now, or next, if it still shows that. (One that
        was taken a step late makes the server expect the token to be late.)"""
        return self.code() if self.code() != used else self.code(1)


@dataclass
class Sekisho:
    """``clients`` is the text of the [[radius.clients]] tables, ``more`` of any other; ``prefix``: a command that runs
    the server's command (setpriv, prlimit); ``disk``: where the database is, if not in ``folder``. ``database_url``:
    the store is there, and its key in ``folder`` already, if there is a store."""

    folder: Path
    clients: str = ""
    more: str = ""
    listen: tuple[str, ...] = ("127.0.0.1:0",)
    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    disk: Path | None = None
    database_url: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.config = self.folder / "sekisho.toml"
        self.log = self.folder / "server.log"
        self.write_config()
        self.settings: Settings = load(self.config, environment={}).settings
        self._initialise()
        self.store: Store = open_store(self.settings)
        self.desk: Desk = open_desk(self.settings, self.store)
        self._numbers = iter(range(1, 10_000_000))

    def _initialise(self) -> None:
        """What `sekisho init` does, with a key of this store's own. A new store begins as a copy of an empty one:
        migrations take longer than most tests."""
        key_file = self.settings.store.master_key_file
        on_disk = self.url.startswith("sqlite:")
        if on_disk and not any(file.exists() for file in (self.database, key_file, mark_path(self.database))):
            shutil.copy(_without_key(), self.database)
            self.database.chmod(0o600)
        initialise(self.settings.store.address, key_file, ids=Ids(), say=lambda _: None)

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """Meanwhile nobody can read or write the store."""
        with away(self.store):
            yield

    @property
    def database(self) -> Path:
        return (self.disk or self.folder) / "s.db"

    @property
    def url(self) -> str:
        """Of a file, or of a store in this worker's PostgreSQL."""
        if self.database_url is not None:
            return self.database_url
        on_disk = self.disk is not None or not postgresql.BY_ENVIRONMENT
        return f"sqlite:///{self.database}" if on_disk else postgresql.store_in(self.folder)

    def write_config(self) -> None:
        listen = ", ".join(f'"{one}"' for one in self.listen)
        self.config.write_text(
            f"""
[store]
url = "{self.url}"
master_key_file = "{self.folder}/master.key"
state_dir = "{self.folder}"
[password]
memory_kib = 256
time_cost = 1
{self.more}
[radius]
listen = [{listen}]
workers = {self.workers}
{self.clients}
"""
        )
        self.config.chmod(0o600)

    def customer(
        self,
        password: str = PASSWORD,
        *,
        enrolled: bool = True,
        spec: TokenSpec | None = None,
        seed: bytes | None = None,
    ) -> Customer:
        """A new customer with a token; ``enrolled``: bound and active, its last code is long ago."""
        spec = spec or TokenSpec()
        number = next(self._numbers)
        one = Customer(f"taro{number}", password, f"VSMT{number:08d}", seed or os.urandom(20), spec.digits)
        self.desk.tokens.import_rows([(one.token_id, one.seed, spec)], STAFF)
        hash_ = hash_password(password.encode(), cost_of(self.settings)) if password else None
        self.desk.customers.add(one.contract_id, STAFF, password_hash=hash_)
        if enrolled:
            self.desk.enrolment.enrol(one.contract_id, one.token_id, one.previous_code(), STAFF)
        return one

    def crowd(self, number: int) -> list[Customer]:
        """Many customers with punctual tokens and no password, at once; none of their codes was ever used."""
        first = next(self._numbers)
        numbers = [first, *(next(self._numbers) for _ in range(number - 1))]
        crowd = [Customer(f"taro{one}", "", f"VSMT{one:08d}", os.urandom(20)) for one in numbers]
        self.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec()) for one in crowd], STAFF)
        with self.store.work() as work:
            records = [work.token(one.token_id) for one in crowd]
        keys = [record.key for record in records if record]
        new = [NewCustomer(one.contract_id, None, token_key=key) for one, key in zip(crowd, keys, strict=True)]
        self.desk.customers.import_rows(new, [one.token_id for one in crowd], STAFF)
        return crowd

    def audit(self, customer: str | None = None, event: str | None = None) -> list[AuditLine]:
        """Rows in the order of time; those of an unknown name too, as the command finds them."""
        fingerprint = None if customer is None else self.store.sealer.name_fingerprint(customer)
        wanted = AuditFilter(customer=customer, event=event, customer_fingerprint=fingerprint)
        with self.store.read() as connection:
            return audit_rows(connection, wanted, limit=100_000)

    def acts(self) -> list[AuditLine]:
        """The audit rows but those of looks, which a server writes up to a minute later."""
        return [row for row in self.audit() if not row.event.startswith("looked.")]

    # The server process

    def start(self, *arguments: str) -> Sekisho:
        """Start the server and wait until all its processes serve."""
        since = len(self.log_text())
        self.spawn(*arguments)
        self.wait_for_log("serving", since=since)
        ready = '"event": "ready"' if 'format = "json"' in self.more else "ready "
        self.wait_for_log(ready, times=len(self.children), since=since)  # each process writes its own lines
        return self

    def spawn(self, *arguments: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
        """Start the server without waiting, in a process group of its own. ``stderr``: a handle in place of the log."""
        words = ["--config", str(self.config), "serve", *arguments]
        environment = {**os.environ, **self.environment}
        for_python = any(not name.startswith("SEKISHO_") for name in self.environment)
        with self.log.open("ab") as log:
            out, err = log.fileno(), stderr or log.fileno()
            if self._program == _PROGRAM and not self.prefix and not for_python:
                self.process = preloaded.start(words, environment, stdout=out, stderr=err)
            else:
                command = [*self.prefix, *self._program, *words]
                self.process = subprocess.Popen(
                    command, stdout=out, stderr=err, env=environment, start_new_session=True
                )
        return self.process

    @property
    def _program(self) -> list[str]:
        return _PROGRAM

    def kill(self) -> None:
        """kill -9 of everything: supervisor and workers, also those that a dead supervisor left behind."""
        assert self.process is not None
        group = self.process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait(10)
        self.process = None
        end = time.monotonic() + 10
        while _running_in(group) and time.monotonic() < end:
            time.sleep(0.005)

    @property
    def children(self) -> list[int]:
        """The processes that serve: those that the first one has started."""
        assert self.process is not None
        pid = self.process.pid
        pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [pid for pid in pids if _comm(pid) not in (_CHECKPOINTS, _SEALS)]

    @property
    def sealers(self) -> list[int]:
        """The processes that seal the audit trail."""
        assert self.process is not None
        pid = self.process.pid
        pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [pid for pid in pids if _comm(pid) == _SEALS]

    @property
    def checkpointers(self) -> list[int]:
        """The processes that make checkpoints."""
        assert self.process is not None
        pid = self.process.pid
        pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [pid for pid in pids if _comm(pid) == _CHECKPOINTS]

    def pids(self, role: str) -> list[int]:
        """The processes that have this role: radius, web, pam."""
        return [pid for pid in self.children if _comm(pid) == f"sekisho {role}"]

    @property
    def workers_pids(self) -> list[int]:
        """The processes that answer RADIUS."""
        return self.pids("radius")

    def cpu_seconds(self) -> float:
        """What the processes that serve have used so far."""
        ticks = 0
        for pid in self.children:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def cpu_share(self, seconds: float = 1.5) -> float:
        """How much of a core they use during the next seconds."""
        before, started = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - started)

    def resident_kib(self) -> int:
        """The memory that the processes that serve hold, in KiB."""
        status = (Path(f"/proc/{pid}/status").read_text() for pid in self.children)
        return sum(int(found[1]) for text in status if (found := re.search(r"VmRSS:\s+(\d+)", text)))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def traceback(self, since: int = 0) -> str:
        """The first traceback in the log behind the position ``since``, and what stands around it; empty: none."""
        text = self.log_text()[since:]
        at = text.find("Traceback")
        return text[max(0, at - 500) : at + 4000] if at >= 0 else ""

    def wait_for_log(self, text: str, *, times: int = 1, seconds: float = 60.0, since: int = 0) -> str:
        """The log, as soon as it holds ``text`` behind the position ``since``."""
        end = time.monotonic() + seconds
        while self.log_text()[since:].count(text) < times:
            if time.monotonic() > end or (self.process is not None and self.process.poll() is not None):
                raise AssertionError(f"{text!r} is not in the log:\n{self.log_text()}")
            time.sleep(0.02)
        return self.log_text()

    @property
    def ports(self) -> list[int]:
        """The ports it listens at, in the order of ``listen``."""
        return [int(address.rpartition(":")[2]) for address in _LISTENING.findall(self.log_text())]

    @property
    def where(self) -> tuple[str, int]:
        """The first address it listens at."""
        asked = self.listen[0]
        told = _LISTENING.findall(self.log_text())[-len(self.listen)] if asked.endswith(":0") else asked
        host, _, port = told.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self) -> int:
        return self.ports[-len(self.listen)]

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        self.store.engine.dispose()
        assert COMPLAINT not in self.log_text(), self.log_text()

    # Peers

    def radclient(self, attributes: str, *options: str, secret: str = SECRET, kind: str = "auth", port: int = 0) -> str:
        """Debian's radclient; what it printed. A Message-Authenticator is asked for unless the attributes name one."""
        if "Message-Authenticator" not in attributes:
            attributes += ",Message-Authenticator=0x00"
        host = "[::1]" if "-6" in options else "127.0.0.1"
        command = ["radclient", "-x", "-t", "2", "-r", "1", *options, f"{host}:{port or self.port}", kind, secret]
        done = subprocess.run(command, input=attributes.encode(), capture_output=True, timeout=60, check=False)
        return (done.stdout + done.stderr).decode()

    def login(self, user: str, user_password: str, *, state: str = "", wait: int = 10, **options: str) -> str:
        """One request by radclient: ``Access-Accept``, ``Access-Reject``, ``Access-Challenge <state>``, ``silence``.
        ``wait``: seconds for an answer, on a machine with other work too."""
        attributes = f'User-Name="{user}",User-Password="{user_password}"' + (f",State={state}" if state else "")
        out = self.radclient(attributes, "-t", str(wait), **options)  # type: ignore[arg-type]
        found = re.search(r"Received (Access-\w+)", out)
        if found is None:
            return "silence"
        if found[1] == "Access-Challenge":
            return f"Access-Challenge {re.findall(r'State = (0x[0-9a-f]+)', out)[-1]}"
        return found[1]


@functools.cache
def _without_key() -> Path:
    """A store as the migrations leave it, to which no key belongs yet; made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-empty-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "s.db"
    file.touch()
    engine = open_engine(f"sqlite:///{file}", busy_seconds=5.0)
    upgrade(engine)
    engine.dispose()
    return file


def client_table(name: str, network: str, mode: str, **more: object) -> str:
    """The text of one [[radius.clients]] table; values as TOML has them."""
    values = {"secret": f'"{SECRET}"', "reject_delay": 0.0, **more}
    lines = [f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()]
    return "\n".join(
        ["[[radius.clients]]", f'name = "{name}"', f'network = "{network}"', f'mode = "{mode}"', *lines, ""]
    )


def _running_in(group: int) -> list[int]:
    """The processes of a group that are no zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(") ")
            state, _parent, its_group = rest.split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(int(name.split()[0]))
    return found


def _comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def free_port() -> int:
    """A port that nobody has now, of UDP or of TCP, and that the kernel gives no connection before it is used."""
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    end = given if given > _LOWEST_PORT + 1000 else 60_000
    while True:
        port = _LOWEST_PORT + secrets.randbelow(end - _LOWEST_PORT)
        if all(_is_free(port, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port


def _is_free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def mounted(at: Path, *options: str) -> Iterator[Path]:
    """A file system of one's own at a new folder, for root; ``options``: what mount(8) is told."""
    at.mkdir()
    subprocess.run(["mount", *options, str(at)], check=True, capture_output=True)
    try:
        yield at
    finally:
        done = subprocess.run(["umount", str(at)], capture_output=True, check=False)
        if done.returncode:
            subprocess.run(["umount", "-l", str(at)], check=False)


@contextlib.contextmanager
def running(folder: Path, mode: str = "challenge", **options: object) -> Iterator[Sekisho]:
    """A server with one client, 127.0.0.0/8, of this mode."""
    more = {"clients": client_table("gateway", "127.0.0.0/8", mode), **options}
    sekisho = Sekisho(folder, **more)  # type: ignore[arg-type]
    try:
        yield sekisho.start()
    finally:
        sekisho.close()
