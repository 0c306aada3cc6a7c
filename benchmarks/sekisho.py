"""Sekisho as a contender, by its command line alone: init, import, serve. Durable SQLite.

One server has four doors at once, told apart by the address from which a gateway speaks: 127.0.0.2 sends the code
alone, 127.0.0.3 is challenged, 127.0.0.4 appends the code to the password, 127.0.0.5 sends the password alone.
"""

import csv
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tokens
from benchmarks.contender import CODE_DEMANDED, REJECT, Running
from benchmarks.load import Credential, Door
from benchmarks.processes import Process, Unusable, free_port

_CONFIG = "sekisho.toml"
SOURCES: Mapping[str, str] = {
    "code": "127.0.0.2",
    "challenge": "127.0.0.3",
    "append": "127.0.0.4",
    "password": "127.0.0.5",
}


@dataclass(frozen=True, slots=True)
class Store:
    """A filled store that nobody serves from: experiments take copies."""

    folder: Path
    customers: int
    token_import_s: float
    customer_import_s: float


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that listens, and how long it took until it did."""

    process: Process
    doors: Mapping[str, Door]
    ready_s: float


class Product:
    """The installed command, and the stores it has filled so far, each once. `url`: of an empty PostgreSQL database,
    which takes one store; None: SQLite."""

    def __init__(self, folder: Path, program: Path | None = None, url: str | None = None) -> None:
        self.program = program or self.installed()
        self._url = url
        self._folder = folder
        self._stores: dict[tuple[int, int, int], Store] = {}

    @staticmethod
    def installed() -> Path:
        """This Python's own."""
        return Path(sys.executable).with_name("sekisho")

    def run_by(self, program: Path) -> "Product":
        """The same stores, served by another command."""
        other = Product(self._folder, program)
        other._stores = self._stores
        return other

    def version(self) -> str:
        said = subprocess.run([str(self.program), "--version"], capture_output=True, text=True, check=False)
        return said.stdout.strip() or "unknown"

    def store(self, customers: int, with_password: int = 0, each: int = 1) -> Store:
        """A store of this many customers with `each` active tokens (`tokens.of_customer`); the first `with_password`
        have a password here."""
        key = (customers, with_password, each)
        if key not in self._stores:
            self._stores[key] = self._fill(self._folder / f"store-{customers}-{with_password}-{each}", *key)
        return self._stores[key]

    @contextmanager
    def serve(
        self,
        store: Store,
        folder: Path,
        more: str = "",
        *,
        workers: int = 1,
        first_factor: str = "local",
        request_seconds: float = 5.0,
    ) -> Iterator[Serving]:
        """Serves a copy of this store from an empty folder. `more`: further settings, as text."""
        shutil.copytree(store.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_CONFIG))
        port = free_port()
        doors = {mode: Door(port, source, secrets.token_hex(16).encode()) for mode, source in SOURCES.items()}
        config = _write_config(
            folder,
            port,
            doors,
            more,
            workers=workers,
            first_factor=first_factor,
            url=self._url,
            request_seconds=request_seconds,
        )
        with Process([str(self.program), "--config", str(config), "serve"], folder / "sekisho.log") as process:
            ready = process.wait_for("ready", max(60.0, 8 * request_seconds))
            yield Serving(process, doors, ready)

    def _fill(self, folder: Path, customers: int, with_password: int, each: int) -> Store:
        folder.mkdir(parents=True)
        port = free_port()
        door = Door(port, SOURCES["code"], secrets.token_hex(16).encode())
        more = f"\n[login]\ntokens_per_customer = {each}\n"
        config = _write_config(folder, port, {"code": door}, more, url=self._url)
        self._run(config, "init")
        lists = folder.with_name(folder.name + "-lists")
        lists.mkdir()
        tokens_file, customers_file = lists / "tokens.csv", lists / "customers.csv"
        with tokens_file.open("w", newline="") as file:
            csv.writer(file).writerows(
                (tokens.token_id(n), tokens.seed(n).hex(), "totp", tokens.DIGITS, tokens.STEP_SECONDS)
                for n in range(customers * each)
            )
        with customers_file.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(("contract_id", "password", "token_id"))
            out.writerows(
                (
                    tokens.contract_id(n),
                    tokens.password(n) if n < with_password else "",
                    ";".join(map(tokens.token_id, tokens.of_customer(n, each))),
                )
                for n in range(customers)
            )
        token_s = self._run(config, "token", "import", str(tokens_file))
        customer_s = self._run(config, "customer", "import", str(customers_file))
        shutil.rmtree(lists)
        return Store(folder, customers, token_s, customer_s)

    def _run(self, config: Path, *words: str) -> float:
        """How many seconds the command took; Unusable with its words if it failed."""
        begun = time.monotonic()
        done = subprocess.run(
            [str(self.program), "--config", str(config), *words], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Unusable(f"sekisho {' '.join(words[:2])} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
        return time.monotonic() - begun


class Sekisho:
    """The product with codes alone: the gateway has checked the password."""

    name = "sekisho"
    title = "Sekisho, SQLite"
    lacks = "one store, so one writer at a time; needs a quick fsync when few requests are under way"
    answers: Mapping[str, str] = {**CODE_DEMANDED, "the same code again": REJECT}

    def __init__(self, product: Product) -> None:
        self._product = product
        self.setup = (
            f"{product.version()}; two workers; durable SQLite with a disk flush for each commit; "
            "Message-Authenticator demanded and sent, no delay before a rejection"
        )

    @contextmanager
    def start(self, folder: Path, customers: int) -> Iterator[Running]:
        with self._product.serve(self._product.store(customers), folder, workers=2) as serving:
            yield Running(serving.process, serving.doors["code"])

    def credential(self, number: int, step: int) -> Credential:
        return Credential(tokens.contract_id(number), tokens.code(tokens.seed(number), step))


class SekishoInterpreted(Sekisho):
    """The same source where nothing was compiled."""

    name = "sekisho-interpreted"
    title = "Sekisho, SQLite, not compiled"


def _write_config(
    folder: Path,
    port: int,
    doors: Mapping[str, Door],
    more: str = "",
    *,
    workers: int = 1,
    first_factor: str = "local",
    url: str | None = None,
    request_seconds: float = 5.0,
) -> Path:
    sqlite = f"sqlite:///{folder / 's.db'}"
    lines = [
        "[store]",
        f'url = "{url or sqlite}"',
        f'master_key_file = "{folder / "master.key"}"',
        "",
        "[radius]",
        f'listen = ["127.0.0.1:{port}"]',
        f"workers = {workers}",
        f"request_seconds = {request_seconds}",
    ]
    for mode, door in doors.items():
        lines += [
            "",
            "[[radius.clients]]",
            f'name = "bench-{mode}"',
            f'network = "{door.source}/32"',
            f'secret = "{door.secret.decode()}"',
            f'mode = "{mode}"',
            "require_message_authenticator = true",
            "reject_delay = 0",
        ]
        lines += [f'first_factor = "{first_factor}"'] if mode != "code" else []
    config = folder / _CONFIG
    config.write_text("\n".join(lines) + "\n" + more)
    config.chmod(0o600)
    return config
