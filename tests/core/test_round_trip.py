"""The statements of a login in one round trip: values come back as they went, and errors come in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.store.postgresql.address import parse
from otp_core.store.postgresql.connection import Notices
from otp_core.store.postgresql.errors import is_lost
from otp_core.store.postgresql.primary import Primary
from otp_core.store.postgresql.round_trip import Outcome, RoundTrips, Rows, Statement
from tests.examples import examples
from tests.postgresql import server

T = TypeVar("T")

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(['"', "\\", "{", ",", "NULL", "null", ""])


Work = Callable[[RoundTrips], Coroutine[Any, Any, T]]


async def _connected() -> RoundTrips:
    primary = Primary(parse(server().url("postgres")))
    return RoundTrips(await primary.connect_on_loop(lock_timeout=1.0, notices=Notices()))


def with_server(work: Work[T]) -> T:
    """On a connection of its own."""

    async def run() -> T:
        trips = await _connected()
        try:
            return await work(trips)
        finally:
            trips.connection.pgconn.finish()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def asked() -> Iterator[Callable[..., Rows]]:
    """What a statement gives for these values, all on one connection."""
    with asyncio.Runner() as runner:
        trips = runner.run(_connected())
        yield lambda text, *values: runner.run(trips.run([Statement(text, values)]))[0].rows
        trips.connection.pgconn.finish()


@settings(max_examples=examples(100), deadline=None)
@given(
    numbers=st.lists(_INTEGERS | st.none()),
    texts=st.lists(_TEXTS | st.none()),
    octets=st.lists(st.binary() | st.none()),
)
def test_lists_come_back_as_they_went(
    asked: Callable[..., Rows], numbers: list[object], texts: list[object], octets: list[object]
) -> None:
    ((*found,),) = asked("SELECT %s::bigint[], %s::text[], %s::bytea[]", numbers, texts, octets)
    assert found == [numbers, [shown(text) for text in texts], octets]


@settings(max_examples=examples(100), deadline=None)
@given(number=_INTEGERS | st.none(), text=_TEXTS | st.none(), octets=st.binary() | st.none())
def test_single_values_come_back_as_they_went(
    asked: Callable[..., Rows], number: object, text: object, octets: object
) -> None:
    assert asked("SELECT %s::bigint, %s::text, %s::bytea", number, text, octets) == [(number, shown(text), octets)]


def shown(text: object) -> object:
    """PostgreSQL's text holds no U+0000."""
    return text.replace("\0", "\ufffd") if isinstance(text, str) else text


def test_rows_and_words_of_each_statement_come_in_their_order() -> None:
    async def work(trips: RoundTrips) -> list[list[Outcome]]:
        make = [Statement("BEGIN"), Statement("CREATE TEMPORARY TABLE kept (n int)")]
        fill = [Statement("INSERT INTO kept SELECT unnest(%s::int[])", ([3, 4, 5],)), Statement("SELECT n FROM kept")]
        return [await trips.run(make), await trips.run(fill), await trips.run([*fill, Statement("COMMIT")])]

    made, filled, again = with_server(work)
    assert [one.tag for one in made] == ["BEGIN", "CREATE TABLE"]
    assert filled == [Outcome("INSERT 0 3", []), Outcome("SELECT 3", [(3,), (4,), (5,)])]
    assert again[1:] == [Outcome("SELECT 6", [(3,), (4,), (5,)] * 2), Outcome("COMMIT", [])]


def test_a_statement_that_stands_twice_in_its_first_round_trip_is_prepared_once() -> None:
    async def work(trips: RoundTrips) -> list[Outcome]:
        return await trips.run([Statement("SELECT %s::int", (number,)) for number in (1, 2)])

    assert [one.rows for one in with_server(work)] == [[(1,)], [(2,)]]


def test_the_first_error_is_raised_when_all_has_been_read_and_nothing_behind_it_was_done() -> None:
    async def work(trips: RoundTrips) -> tuple[object, Rows]:
        await trips.run([Statement("CREATE TEMPORARY TABLE kept (n int)")])
        first, divided = Statement("INSERT INTO kept VALUES (1)"), Statement("SELECT 1 / %s::int", (0,))
        never = Statement("INSERT INTO kept VALUES ('a word')")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await trips.run([Statement("BEGIN"), first, divided, never, Statement("COMMIT")])
        status = trips.connection.info.transaction_status
        await trips.run([Statement("ROLLBACK")])
        (found,) = await trips.run([Statement("SELECT count(*) FROM kept")])
        # What the server left out is not taken for prepared.
        (divided_well,) = await trips.run([divided._replace(values=(1,))])
        assert divided_well.rows == [(1,)]
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await trips.run([never])
        return status, found.rows

    assert with_server(work) == (psycopg.pq.TransactionStatus.INERROR, [(0,)])


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_connection_that_breaks_is_an_error_and_lost(when: str) -> None:
    async def work(trips: RoundTrips) -> None:
        (own,) = await trips.run([Statement("SELECT pg_backend_pid()")])
        end = Statement("SELECT pg_terminate_backend(%s::int)", own.rows[0])
        if when == "before":
            with server().connect("postgres") as other:
                other.execute(end.text, end.values)
        with pytest.raises(psycopg.OperationalError) as caught:
            await trips.run([Statement("BEGIN"), end, Statement("SELECT pg_sleep(2)"), Statement("COMMIT")])
        assert is_lost(caught.value)

    with_server(work)
