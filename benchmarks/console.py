"""What staff waits for at a bank's size: searches, lists and a customer's page, by the console's own server, each role.

`python -m benchmarks.console` fills a throw-away store (1,000,000 customers and tokens, 5,000,000 audit rows), serves
it, and asks over HTTP, one request at a time, with other customers each time. Times are those of the answer as a whole.
"""

import argparse
import http.client
import json
import random
import secrets
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from benchmarks import large_bank, signed_in, tokens
from benchmarks.large_bank import BUSY, Size, contract_id, named
from benchmarks.processes import Process, workplace
from benchmarks.sekisho import Product
from otp_core.audit import Event
from otp_core.model import Role
from otp_core.reference import reference_of
from otp_core.store.sqlite import driver
from sekisho.settings import Settings, load

PAGE = 50
"""Rows of a list's page in the console."""

LIMIT_MS = 100
_PAGES = (1, 1000)
_STATES = ("available", "bound", "retired", "lost")
_USES = (*(use for use, _ in large_bank.USES), "locked")


@dataclass
class Question:
    """Something that staff asks for. ``path``: gives a new one each time."""

    name: str
    path: Callable[[], str]
    times: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--audit-rows", type=int, default=5_000_000)
    parser.add_argument("--each", type=int, default=15, help="requests of each question by each role")
    parser.add_argument("--keep", type=Path, help="keep the store in this folder, and use it if it is there")
    options = parser.parse_args()
    size = Size(options.customers, options.audit_rows)
    with workplace(Path(__file__).with_name("out")) as folder:
        place: Path = (options.keep or folder).resolve()
        place.mkdir(parents=True, exist_ok=True)
        settings, port = _settings(place)
        if not (place / "s.db").exists():
            for said in large_bank.fill(settings.store.address, settings.store.master_key_file, size):
                print(f"# {said}", flush=True)
        cookies = signed_in.cookies(settings)
        questions = list(_questions(place / "s.db", size))
        program = [str(Product.installed()), "--config", str(place / "sekisho.toml"), "serve", "--doors", "console"]
        with Process(program, place / "sekisho.log") as process:
            process.wait_for("ready")
            _ask(questions, cookies, port, options.each)
        _report(questions, size, place / "s.db")


def _settings(folder: Path) -> tuple[Settings, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "sekisho.toml"
    config.write_text(
        f'[store]\nurl = "sqlite:///{folder}/s.db"\nmaster_key_file = "{folder}/master.key"\n'
        f'[console]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
    )
    config.chmod(0o600)
    return load(config, environment={}).settings, port


def _questions(database: Path, size: Size) -> Iterator[Question]:
    drawn = random.Random(11)

    def somebody() -> int:
        return drawn.randrange(size.customers)

    with closing(driver.connect(database)) as connection:
        yield Question("first page", lambda: "/")
        yield from _searches(connection, somebody)
        yield from _lists(connection, somebody)
        keys = {
            n: connection.execute("SELECT key FROM customer WHERE contract_id = ?", (contract_id(n),)).fetchone()[0]
            for n in (BUSY, *(somebody() for _ in range(50)))
        }
        others = [key for number, key in keys.items() if number != BUSY]
        yield Question("a customer's page", lambda: f"/customers/{drawn.choice(others)}")
        yield Question("the busiest customer's page", lambda: f"/customers/{keys[BUSY]}")
        held = {
            n: connection.execute("SELECT key FROM token WHERE token_id = ?", (tokens.token_id(n),)).fetchone()[0]
            for n in (BUSY, somebody())
        }
        for number, key in held.items():
            whose = "the busiest customer's token" if number == BUSY else "a token's page"
            yield Question(whose, lambda key=key: f"/tokens/{key}")  # type: ignore[misc]


def _searches(connection: driver.Connection, somebody: Callable[[], int]) -> Iterator[Question]:
    rows = [row[0] for row in connection.execute("SELECT id FROM audit ORDER BY id LIMIT 1000 OFFSET 5000")]
    row = iter(rows * 100)

    def half(text: str | None) -> str:
        assert text is not None
        return text.partition(" ")[0]

    kinds: dict[str, Callable[[], str]] = {
        "contract ID": lambda: contract_id(somebody()),
        "beginning of a contract ID": lambda: contract_id(somebody())[:3],
        "token ID": lambda: tokens.token_id(somebody()),
        "beginning of a token ID": lambda: tokens.token_id(somebody())[:7],
        "reference number": lambda: reference_of(next(row)),
        "name": lambda: named(somebody()).name or "",
        "surname": lambda: half(named(somebody()).name),
        "first letter of a name": lambda: (named(somebody()).name or "")[:1],
        "given name, surname": lambda: " ".join(reversed((named(somebody()).name or "").split())),
        "reading": lambda: named(somebody()).reading or "",
        "beginnings of both words": lambda: " ".join(word[:2] for word in (named(somebody()).reading or "").split()),
        "e-mail": lambda: named(somebody()).email or "",
        "nobody": lambda: f"だれも {secrets.token_hex(3)}",
    }
    for name, typed in kinds.items():
        yield Question(f"search: {name}", lambda typed=typed: f"/?q={quote(typed())}")  # type: ignore[misc]


def _lists(connection: driver.Connection, somebody: Callable[[], int]) -> Iterator[Question]:
    for use in ("", *_USES):
        where = {"": "1", "locked": "locked_at IS NOT NULL"}.get(use, "otp_use = ?")
        for page, after in _pages(connection, "contract_id", f"customer WHERE {where}", (use,) if "?" in where else ()):
            yield _list("customers", {"use": use, "after": after}, page)
    for state in ("", *_STATES):
        where = "state = ?" if state else "1"
        for page, after in _pages(connection, "token_id", f"token WHERE {where}", (state,) if state else ()):
            yield _list("tokens", {"state": state, "after": after}, page)
    filters: tuple[dict[str, str], ...] = (
        {},
        {"event": Event.LOGIN_REJECTED},
        {"event": Event.CUSTOMER_RENAMED},
        {"actor": large_bank.ACTORS[0]},
        {"actor": "nobody"},
        {"customer": contract_id(BUSY)},
        {"customer": contract_id(BUSY), "event": Event.SUSPENDED},
        {"token": tokens.token_id(BUSY)},
    )
    for asked in filters:
        where = " AND ".join(f"{name} = ?" for name in asked) or "1"
        for page, before in _pages(connection, "id", f"audit WHERE {where}", tuple(asked.values()), down=True):
            yield _list("audit", {**asked, "before": before}, page)
    yield Question("audit: a customer", lambda: f"/audit?customer={contract_id(somebody())}")
    yield Question("audit: a token", lambda: f"/audit?token={tokens.token_id(somebody())}")
    yield _list("audit", {"until": "2026-06-01T00:00"}, 1)


def _pages(
    connection: driver.Connection, key: str, source: str, values: tuple[str, ...], *, down: bool = False
) -> Iterator[tuple[int, str]]:
    """The first page and the 1,000th, where there is one: number, and the key behind which it begins."""
    for page in _PAGES:
        if page == 1:
            yield page, ""
            continue
        order = "DESC" if down else "ASC"
        query = f"SELECT {key} FROM {source} ORDER BY {key} {order} LIMIT 1 OFFSET {(page - 1) * PAGE - 1}"  # noqa: S608
        if (row := connection.execute(query, values).fetchone()) is not None:
            yield page, str(row[0])


def _list(name: str, asked: dict[str, str], page: int) -> Question:
    words = ", ".join(f"{key} {value}" for key, value in asked.items() if value and key not in ("after", "before"))
    path = f"/{name}?{urlencode(asked)}"
    return Question(f"{name}{': ' if words else ''}{words}, page {page:,}", lambda: path)


def _ask(questions: list[Question], cookies: dict[Role, str], port: int, each: int) -> None:
    connection = http.client.HTTPConnection("localhost", port, timeout=60)
    for _ in range(each):
        for question in questions:
            for role, cookie in cookies.items():
                path = question.path()
                begun = time.perf_counter()
                connection.request("GET", path, headers={"Cookie": cookie})
                answer = connection.getresponse()
                answer.read()
                took = time.perf_counter() - begun
                if answer.status not in (200, 303) or (answer.getheader("Location") or "").startswith("/sign-in"):
                    raise SystemExit(f"{path}: status {answer.status}")
                question.times.setdefault(role, []).append(took * 1000)


def _report(questions: list[Question], size: Size, database: Path) -> None:
    gib = database.stat().st_size / 2**30
    print(
        f"# {size.customers:,} customers and tokens, {size.audit_rows:,} audit rows, {gib:.1f} GiB; ms, median (worst)"
    )
    print("| question | " + " | ".join(Role) + " |")
    print("|---" * (len(Role) + 1) + "|")
    slow = []
    for question in questions:
        cells = []
        for role in Role:
            times = question.times[role]
            middle = statistics.median(times)
            cells.append(f"{middle:.0f} ({max(times):.0f})")
            if middle >= LIMIT_MS:
                slow.append(f"{question.name}, {role}: {middle:.0f} ms")
        print(f"| {question.name} | " + " | ".join(cells) + " |")
    print(json.dumps({"slow": slow}))


if __name__ == "__main__":
    main()
