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
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from benchmarks import packets, tokens
from otp_core.accounts import Principal, PrincipalKind
from otp_core.audit import Ids
from otp_core.authentication.authenticator import Authenticator
from otp_core.authentication.queue import LoginQueue
from otp_core.clock import GuardedClock
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Delays
from otp_core.login.requests import Decision, Facts
from otp_core.model import TokenSpec
from otp_core.radius.dictionary import Dictionary
from otp_core.store.engine import LoginBatch
from otp_core.store.queries import known_tokens
from otp_core.store.store import initialise
from otp_core.store.unit_of_work import NewCustomer
from radius_server.clients import clients_of
from radius_server.duplicates import Duplicates
from radius_server.process.access import Limits, RadiusServer
from sekisho.settings import Settings, load
from sekisho.wiring import Application, open_application, open_desk, open_store, rules_of

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


class TimedEvaluator:
    def __init__(self, evaluator: Evaluator, watch: Stopwatch) -> None:
        self._evaluator, self._watch = evaluator, watch

    def evaluate(self, requests: Any, facts: Facts, now: int, ids: Ids) -> Decision:
        decision: Decision = self._watch.time("evaluate", lambda: self._evaluator.evaluate(requests, facts, now, ids))
        return decision


class TimedLoginBatch:
    """Times an engine that does not wait."""

    concurrency = 1

    def __init__(self, login_batch: LoginBatch, watch: Stopwatch) -> None:
        self._login_batch, self._watch = login_batch, watch

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        work = self._login_batch.run(customers, states, evaluate)
        decision: Decision = self._watch.time("batch", lambda: _completed(work))
        return decision

    def close(self) -> None:
        self._login_batch.close()


def _completed(work: Coroutine[Any, Any, Decision]) -> Decision:
    try:
        work.send(None)
    except StopIteration as end:
        decision: Decision = end.value
        return decision
    raise AssertionError("the engine waited")


class Mute:
    """A listener that sends nothing, and counts what it was given by RADIUS code."""

    def __init__(self) -> None:
        self.sent: Counter[int] = Counter()

    def send(self, datagram: bytes, peer: object, local: bytes) -> bool:
        self.sent[datagram[0]] += 1
        return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rooms", description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000, help="one of each customer's")
    parser.add_argument("--each", type=int, default=1, help="tokens of one customer: codes of them are sent in turn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--logins", type=int, default=20_000)
    options = parser.parse_args()
    out = Path(__file__).with_name("out")  # on a disk: /tmp may be in memory
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        settings = _settings(Path(folder))
        for turn in range(options.each):
            _fill(settings, options.tokens, turn)
        asyncio.run(_play(settings, options.tokens, options.each, options.batch, min(options.logins, options.tokens)))


def _settings(folder: Path) -> Settings:
    config = folder / "sekisho.toml"
    config.write_text(
        f'[store]\nurl = "sqlite:///{folder}/s.db"\nmaster_key_file = "{folder}/master.key"\n'
        f'[[radius.clients]]\nname = "gateway"\nnetwork = "127.0.0.1"\nsecret = "{_SECRET}"\nmode = "code"\n'
    )
    config.chmod(0o600)
    return load(config, environment={}).settings


def _fill(settings: Settings, count: int, turn: int) -> None:
    """Give each of ``count`` customers a token; in the first ``turn``, 0, they are added."""
    initialise(settings.store.address, settings.store.master_key_file, ids=Ids(), say=lambda _: None)
    store = open_store(settings)
    desk, principal = open_desk(settings, store), Principal("benchmark", PrincipalKind.COMMAND)
    for begin in range(0, count, _CHUNK):
        numbers = range(begin, min(count, begin + _CHUNK))
        ids = [tokens.token_id(number + turn * count) for number in numbers]
        seeds = [tokens.seed(number + turn * count) for number in numbers]
        desk.tokens.import_rows([(id_, seed, TokenSpec()) for id_, seed in zip(ids, seeds, strict=True)], principal)
        with store.read() as connection:
            known = known_tokens(connection, ids)
        if turn:
            with store.work() as work:
                work.bind_tokens([known[id_][0] for id_ in ids], shared=False)
                for number, id_ in zip(numbers, ids, strict=True):
                    record = work.login_record(tokens.contract_id(number))
                    assert record is not None
                    work.bind(record.customer_key, known[id_][0], 0)
            continue
        new = [
            NewCustomer(tokens.contract_id(number), None, token_key=known[id_][0])
            for number, id_ in zip(numbers, ids, strict=True)
        ]
        desk.customers.import_rows(new, ids, principal)


async def _play(settings: Settings, count: int, each_has: int, batch: int, logins: int) -> None:
    watch, mute = Stopwatch(), Mute()
    application = open_application(settings)
    server = _timed_server(application, watch)
    step = int(time.time()) // tokens.STEP_SECONDS
    customers = random.sample(range(count), logins)
    datagrams = [_datagram(number, number + at % each_has * count, step, at) for at, number in enumerate(customers)]
    begun = time.process_time()
    for begin in range(0, logins, batch):
        part = datagrams[begin : begin + batch]
        watch.time("receive", lambda part=part, begin=begin: _receive(server, mute, part, begin))  # type: ignore[misc]
        while server.in_flight:  # noqa: ASYNC110  the loop must come round, and nothing else is in it
            await asyncio.sleep(0)
    whole = time.process_time() - begun
    await application.close()
    each = {room: spent / 1000 / logins for room, spent in watch.spent.items()}
    rows = [
        ("read, verify, decrypt, find duplicates", each["receive"]),
        ("evaluate: unseal, codes, verdicts", each["evaluate"]),
        ("SQL: load, spend, audit, commit (CPU, not the wait)", each["batch"] - each["evaluate"]),
        ("write and sign replies; the loop", whole * 1e6 / logins - each["receive"] - each["batch"]),
        ("together", whole * 1e6 / logins),
    ]
    accepted = f"{mute.sent[packets.ACCEPT]:,} of {logins:,} accepted"
    print(f"{count:,} customers with {each_has} tokens each, batches of {batch}, {accepted}")
    for title, microseconds in rows:
        print(f"  {microseconds:6.1f} us  {title}")


def _receive(server: RadiusServer, mute: Mute, part: list[bytes], begin: int) -> None:
    for datagram in part:
        server.receive(mute, datagram, ("127.0.0.1", 1024 + begin // 256 % 60_000), b"")


def _timed_server(application: Application, watch: Stopwatch) -> RadiusServer:
    services, settings, loop = application.services, application.settings, asyncio.get_running_loop()
    store = services.store
    clock = GuardedClock(time.time)
    sealer = store.sealer
    evaluator = Evaluator(rules_of(settings), sealer.unseal, lambda: secrets.token_bytes(16), sealer.name_fingerprint)
    queue = LoginQueue(TimedLoginBatch(store.login_batch(), watch), TimedEvaluator(evaluator, watch), clock, store.ids)
    throttle = PasswordThrottle(Delays(), loop.time, services.failures, sealer.fingerprint)
    stations = StationThrottle(Delays(), loop.time, services.failures, sealer.fingerprint)
    authenticator = Authenticator(
        queue,
        services.login_reader,
        evaluator,
        services.authenticator._first_factors,
        throttle,
        store.sealer.fingerprint,
        clock.now,
        stations=stations,
    )
    dictionary = Dictionary()
    return RadiusServer(
        clients_of(settings.radius, dictionary),
        dictionary,
        authenticator,
        Duplicates(30, 100_000),
        Limits(4096, 5.0, 20),
        store.sealer.fingerprint,
        lambda: True,
        lambda: False,
        services.verdict_log,
        services.tally,
    )


def _datagram(customer: int, token: int, step: int, at: int) -> bytes:
    return packets.access_request(
        tokens.contract_id(customer).encode(),
        tokens.code(tokens.seed(token), step),
        identifier=at % 256,
        authenticator=os.urandom(16),
        secret=_SECRET.encode(),
        nas=b"\x7f\0\0\1",
    )


if __name__ == "__main__":
    main()
