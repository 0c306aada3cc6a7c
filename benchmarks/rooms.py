"""Where the time of a login goes: CPU microseconds room by room, in one process and without sockets.

`python -m benchmarks.rooms` fills a throw-away store and plays batches of mode `code` through the door's own objects.
It looks inside the product on purpose, unlike everything else in this folder; wrappers read the thread's CPU clock.
"""

import argparse
import asyncio
import os
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks import packets, tokens
from otp_core.audit import Ids
from otp_core.authenticator import Authenticator
from otp_core.build import House, open_desk, open_house, open_store, rules_of
from otp_core.clock import GuardedClock
from otp_core.desk import Actor
from otp_core.docket import Docket
from otp_core.first_factor.turnstile import Turnstile
from otp_core.judge import Facts, Judge, Ruling
from otp_core.model import TokenSpec
from otp_core.policy import Delays
from otp_core.settings import Settings, load
from otp_core.store.ledger import SqliteLedger
from otp_core.store.lists import known_tokens
from otp_core.store.store import initialise
from otp_core.store.work import NewCustomer
from radius_server.clients import clients_of
from radius_server.dictionary import Dictionary
from radius_server.duplicates import Duplicates
from radius_server.server import Limits, RadiusServer

_SECRET = secrets.token_hex(16)
_CHUNK = 2000


class Stopwatch:
    """CPU time by the name of the room, the rooms inside it included."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    def time(self, room: str, work: Callable[[], Any]) -> Any:
        begun = time.thread_time_ns()
        try:
            return work()
        finally:
            self.spent[room] += time.thread_time_ns() - begun


class TimedJudge:
    def __init__(self, judge: Judge, watch: Stopwatch) -> None:
        self._judge, self._watch = judge, watch

    def judge(self, cases: Any, facts: Facts, now: int, ids: Ids) -> Ruling:
        ruling: Ruling = self._watch.time("judge", lambda: self._judge.judge(cases, facts, now, ids))
        return ruling


class TimedLedger:
    def __init__(self, ledger: SqliteLedger, watch: Stopwatch) -> None:
        self._ledger, self._watch = ledger, watch

    def rule(self, customers: Collection[str], states: Collection[bytes], judge: Callable[[Facts], Ruling]) -> Ruling:
        ruling: Ruling = self._watch.time("ledger", lambda: self._ledger.rule(customers, states, judge))
        return ruling

    def close(self) -> None:
        self._ledger.close()


class Mute:
    """A listener that sends nothing, and counts what it was given by RADIUS code."""

    def __init__(self) -> None:
        self.sent: Counter[int] = Counter()

    def send(self, datagram: bytes, source: object, destination: bytes) -> bool:
        self.sent[datagram[0]] += 1
        return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rooms", description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--logins", type=int, default=20_000)
    options = parser.parse_args()
    out = Path(__file__).with_name("out")  # on a disk: /tmp may be in memory
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        settings = _settings(Path(folder))
        _fill(settings, options.tokens)
        asyncio.run(_play(settings, options.tokens, options.batch, min(options.logins, options.tokens)))


def _settings(folder: Path) -> Settings:
    config = folder / "sekisho.toml"
    config.write_text(
        f'[store]\nurl = "sqlite:///{folder}/s.db"\nmaster_key_file = "{folder}/master.key"\n'
        f'[[radius.clients]]\nname = "gateway"\nnetwork = "127.0.0.1"\nsecret = "{_SECRET}"\nmode = "code"\n'
    )
    config.chmod(0o600)
    return load(config, environment={}).settings


def _fill(settings: Settings, count: int) -> None:
    initialise(settings.store.url, settings.store.master_key_file, ids=Ids(), say=lambda _: None)
    store = open_store(settings)
    desk, actor = open_desk(settings, store), Actor("benchmark")
    for begin in range(0, count, _CHUNK):
        numbers = range(begin, min(count, begin + _CHUNK))
        ids = [tokens.token_id(number) for number in numbers]
        desk.import_tokens([(tokens.token_id(number), tokens.seed(number), TokenSpec()) for number in numbers], actor)
        with store.read() as connection:
            known = known_tokens(connection, ids)
        new = [
            NewCustomer(tokens.contract_id(number), None, token_key=known[id_][0])
            for number, id_ in zip(numbers, ids, strict=True)
        ]
        desk.import_customers(new, ids, actor)


async def _play(settings: Settings, count: int, batch: int, logins: int) -> None:
    watch, mute = Stopwatch(), Mute()
    house = open_house(settings)
    server = _timed_server(house, watch)
    step = int(time.time()) // tokens.STEP_SECONDS
    datagrams = [_datagram(number, step, at) for at, number in enumerate(random.sample(range(count), logins))]
    begun = time.process_time()
    for begin in range(0, logins, batch):
        part = datagrams[begin : begin + batch]
        watch.time("receive", lambda part=part, begin=begin: _receive(server, mute, part, begin))  # type: ignore[misc]
        while server.in_flight:  # noqa: ASYNC110  the loop must come round, and nothing else is in it
            await asyncio.sleep(0)
    whole = time.process_time() - begun
    await house.close()
    each = {room: spent / 1000 / logins for room, spent in watch.spent.items()}
    rows = [
        ("read, verify, decrypt, find duplicates", each["receive"]),
        ("judge: unseal, codes, verdicts", each["judge"]),
        ("SQL: load, spend, audit, commit (CPU, not the wait)", each["ledger"] - each["judge"]),
        ("write and sign replies; the loop", whole * 1e6 / logins - each["receive"] - each["ledger"]),
        ("together", whole * 1e6 / logins),
    ]
    print(f"{count:,} tokens, batches of {batch}, {mute.sent[packets.ACCEPT]:,} of {logins:,} accepted")
    for title, microseconds in rows:
        print(f"  {microseconds:6.1f} us  {title}")


def _receive(server: RadiusServer, mute: Mute, part: list[bytes], begin: int) -> None:
    for datagram in part:
        server.receive(mute, datagram, ("127.0.0.1", 1024 + begin // 256 % 60_000), b"")


def _timed_server(house: House, watch: Stopwatch) -> RadiusServer:
    store, settings, loop = house.store, house.settings, asyncio.get_running_loop()
    clock = GuardedClock(time.time)
    judge = Judge(rules_of(settings), store.sealer.unseal, lambda: secrets.token_bytes(16))
    docket = Docket(TimedLedger(store.ledger(), watch), TimedJudge(judge, watch), clock, store.ids)
    turnstile = Turnstile(Delays(), loop.time, 1000)
    authenticator = Authenticator(
        docket, house.enquiries, judge, house.authenticator._first_factor, turnstile, store.sealer.mark, clock.now
    )
    dictionary = Dictionary()
    return RadiusServer(
        clients_of(settings, dictionary),
        dictionary,
        authenticator,
        Duplicates(30, 100_000),
        Limits(4096, 5.0, 20),
        store.sealer.mark,
        lambda: True,
        lambda: False,
    )


def _datagram(number: int, step: int, at: int) -> bytes:
    return packets.access_request(
        tokens.contract_id(number).encode(),
        tokens.code(tokens.seed(number), step),
        identifier=at % 256,
        authenticator=os.urandom(16),
        secret=_SECRET.encode(),
        nas=b"\x7f\0\0\1",
    )


if __name__ == "__main__":
    main()
