"""Which of several hosts is believed: not the one that was the primary before, and never one that is silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otp_core.audit import Ids
from otp_core.store.postgresql import address, connection, primary
from otp_core.store.postgresql.address import parse
from otp_core.store.postgresql.connection import Timeline
from otp_core.store.postgresql.errors import unavailable
from otp_core.store.postgresql.primary import Primary
from otp_core.store.store import initialise
from tests.core.bank import STAFF, Bank
from tests.postgresql import QUICK
from tests.postgresql_pair import Pair, pair_of_servers


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Of which the standby is promoted by some test, and the primary left as it is."""
    with pair_of_servers(*QUICK, synchronous=False) as made:
        yield made


@contextlib.contextmanager
def silent_host() -> Iterator[str]:
    """An address where every packet is dropped, as far as a client can see: the queue of new connections is full."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(3):
            asking = stack.enter_context(socket.socket())
            asking.setblocking(False)
            asking.connect_ex(hole.getsockname())
        yield f"127.0.0.1:{hole.getsockname()[1]}"


def hosts(*names: str) -> Primary:
    """Folders of sockets, or 127.0.0.1:PORT."""
    parts = [(name, "5432") if name.startswith("/") else tuple(name.split(":")) for name in names]
    return Primary(parse("postgresql://sekisho@/sekisho?sslmode=disable")._replace(hosts=tuple(parts)))  # type: ignore[arg-type]


def folder_of(opened: psycopg.Connection[tuple[object, ...]]) -> str:
    row = opened.execute("SHOW unix_socket_directories").fetchone()
    opened.close()
    assert row is not None
    return str(row[0])


def open_to(at: Primary) -> str:
    return folder_of(at.connect(lock_timeout=1.0, notices=lambda _: None))


def eventually(holds: Callable[[], bool]) -> None:
    ended = threading.Event()
    for _ in range(1000):
        if holds():
            return
        ended.wait(0.01)
    raise AssertionError("it never came to hold")


def promote_while_asked(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody asks a standby and a silent host; then the standby is promoted, and is given."""
    refused, ask, found = threading.Event(), connection.connect, list[str]()

    def asked(*given: Any, **more: Any) -> Any:
        try:
            return ask(*given, **more)
        except psycopg.OperationalError:
            refused.set()
            raise

    with silent_host() as hole, monkeypatch.context() as patch:
        patch.setitem(address._SESSION, "connect_timeout", "3600")
        patch.setattr(primary, "CONNECT_SECONDS", 3600)
        patch.setattr(primary, "GRACE_SECONDS", 0.1)
        patch.setattr(connection, "connect", asked)
        one = hosts(hole, str(pair.standby.folder))
        waiting = threading.Thread(target=lambda: found.append(open_to(one)))
        waiting.start()
        assert refused.wait(20)
        pair.standby.promote()
        waiting.join(20)
    assert found == [str(pair.standby.folder)]


def test_a_silent_host_delays_nobody(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(address._SESSION, "connect_timeout", "3600")
    monkeypatch.setattr(primary, "CONNECT_SECONDS", 3600)
    monkeypatch.setattr(primary, "GRACE_SECONDS", 0.1)
    with silent_host() as hole:
        one = hosts(hole, str(pair.standby.folder), str(pair.primary.folder))
        assert open_to(one) == str(pair.primary.folder)
        monkeypatch.setattr(primary, "GRACE_SECONDS", 3600)
        assert open_to(one) == str(pair.primary.folder), "it is not even waited for a second time"


def test_what_no_host_gives_is_said_of_each_of_them(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(address._SESSION, "connect_timeout", "1")
    monkeypatch.setattr(primary, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(primary, "GRACE_SECONDS", 0.1)
    with silent_host() as hole, pytest.raises(psycopg.OperationalError) as raised:
        open_to(hosts(hole, str(pair.standby.folder), str(tmp_path)))
    text = str(raised.value)
    assert "127.0.0.1 does not answer" in text and "read-only" in text and str(tmp_path) in text
    assert "is a fail-over under way?" in str(unavailable(raised.value))


def test_a_host_alone_that_is_an_older_primary_is_refused(pair: Pair) -> None:
    """Behind a name of the DNS, or an address that moves."""
    one = hosts(str(pair.primary.folder))
    cluster, number = one.connect(lock_timeout=1.0, notices=lambda _: None).timeline
    one.note(Timeline(cluster, number + 1))
    with pytest.raises(psycopg.OperationalError, match=r"a primary of before \(timeline 1; 2 was seen\)"):
        open_to(one)
    one.note(Timeline("another cluster", 9))
    with pytest.raises(psycopg.OperationalError, match="2 was seen"):
        open_to(one)


def test_a_primary_of_before_is_not_asked_though_it_stands_first_and_still_answers(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has fenced it, and it takes writes: a customer who was locked since would not be locked there. The
    promotion itself is noticed by who waits for it, though another host is silent."""
    initialise(pair.url, tmp_path / "master.key", ids=Ids(), say=lambda _: None)
    before = Bank(tmp_path, database_url=pair.url)
    before.customer("taro")
    reader, keys, tidying = before.store.login_reader(), before.store.key_reader(), before.store.maintenance()
    batch = before.store.login_batch()

    def is_locked() -> bool:
        with before.store.work() as work:
            record = work.login_record("taro")
        assert record is not None
        return record.locked_at is not None

    async def scene() -> None:
        async def locked_at() -> int | None:
            record = await reader.login_record("taro")
            assert record is not None
            return record.locked_at

        assert await locked_at() is None and not is_locked()
        keys.api_key_of(b"none")
        promote_while_asked(pair, monkeypatch)
        new = Bank(tmp_path, database_url=pair.url.replace(str(pair.primary.folder), str(pair.standby.folder)))
        new.desk.customers.lock("taro", STAFF)
        assert await locked_at() is None, "over the connection of before: nobody has told this process yet"
        monkeypatch.setattr(primary, "LOOK_SECONDS", 0.0)
        tidying.probe(1)  # as a server does each second
        assert await locked_at() and is_locked()
        assert keys.api_key_of(b"none") is None
        fresh = before.open_store()
        with fresh.work() as work:
            record = work.login_record("taro")
        assert record is not None and record.locked_at, "nor by a process that starts only now"
        for store in (before.store, fresh, new.store):
            store.engine.dispose()
        reader.close()
        batch.close()

    asyncio.run(scene())
    for one in (keys, tidying):
        one.close()
    with pair.primary.connect("sekisho") as old:
        sessions = old.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sekisho'").fetchone()
    assert sessions == (0,), "what lay idle there was let go of"


def test_an_old_primary_that_answers_late_is_let_go_of_and_a_new_one_is_heard(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is slow: whoever was given the old one meanwhile does not keep it."""
    with pair.standby.connect("sekisho") as standby:
        if standby.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            pair.standby.promote()
    ask, slow = connection.connect, threading.Event()

    def asked(host: address.Address, **more: Any) -> Any:
        if host.hosts[0][0] == str(pair.standby.folder):
            slow.wait(20)
        return ask(host, **more)

    monkeypatch.setattr(connection, "connect", asked)
    monkeypatch.setattr(primary, "GRACE_SECONDS", 0.1)
    one = hosts(*(str(server.folder) for server in (pair.primary, pair.standby)))
    old = one.connect(lock_timeout=1.0, notices=lambda _: None)
    assert one.is_current(old)
    slow.set()
    eventually(lambda: not one.is_current(old))
    old.close()
    assert open_to(one) == str(pair.standby.folder)
