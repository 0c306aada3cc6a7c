"""The numbers of audit rows: in the order of time, made by many nodes without asking one another."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.audit import LENT_TAGS, Event, Ids, id_at, ms_of
from tests.fakes import HandClock

moments = st.integers(0, 4_000_000_000_000)
"""Milliseconds, until the year 2096."""


def test_an_id_tells_its_moment() -> None:
    assert ms_of(Ids(HandClock(1_800_000_000.123)).next()) == 1_800_000_000_123


@settings(deadline=None)
@given(moments)
def test_the_smallest_id_of_a_moment_is_not_above_any_made_in_it(at_ms: int) -> None:
    smallest = id_at(at_ms)
    assert ms_of(smallest) == at_ms
    assert ms_of(smallest - 1) == at_ms - 1
    for tag in (0, 1023):
        made = Ids(HandClock(at_ms / 1000 + 0.0001), tag).next()
        assert smallest <= made < id_at(at_ms + 1)


@settings(deadline=None)
@given(st.lists(moments, min_size=2), st.integers(0, 1023))
def test_ids_rise_whatever_the_clock_does(moments: list[int], tag: int) -> None:
    clock = HandClock(0)
    ids = Ids(clock, tag)
    made = []
    for moment in moments:
        clock.now = moment / 1000
        made += [ids.next(), ids.next()]
    assert made == sorted(set(made))


def test_further_rows_of_one_moment_follow_without_a_look_at_the_clock() -> None:
    looks: list[int] = []

    def clock() -> float:
        looks.append(len(looks))
        return 1_800_000_000.0

    ids = Ids(clock, 5)
    first = ids.next()
    assert [ids.following(), ids.following(), ids.next()] == [first + (n << 10) for n in (1, 2, 3)]
    assert len(looks) == 2


def test_ids_pass_what_is_sealed_and_never_go_back() -> None:
    ids = Ids(HandClock(1000.0), 3)
    ids.pass_(id_at(2_000_000))
    assert ids.next() == id_at(2_000_000) + (1 << 10) + 3
    ids.pass_(5)
    assert ids.following() == id_at(2_000_000) + (2 << 10) + 3


def test_two_processes_with_tags_of_their_own_never_make_the_same_id() -> None:
    clock = HandClock(1_800_000_000.0)
    one, other = Ids(clock, 1), Ids(clock, 2)
    assert not {one.next() for _ in range(1000)} & {other.next() for _ in range(1000)}


def test_a_tag_is_cut_to_its_bits_and_drawn_if_none_is_given() -> None:
    clock = HandClock(1.0)
    assert Ids(clock, 1024 + 5).next() == Ids(clock, 5).next() == (1_000_000 << 10) + 5
    tags = {Ids(clock).next() & 1023 for _ in range(200)}
    assert len(tags) > 50
    assert min(tags) >= LENT_TAGS, "the others are lent"


def test_a_tag_that_is_lent_stays_until_the_numbers_begin_again_at_an_earlier_time() -> None:
    ids = Ids(HandClock(1000.0), 3)
    ids.follow(HandClock(1000.0))
    first = ids.next()
    ids.follow(HandClock(1001.0))
    second = ids.next()
    assert (first & 1023, second & 1023) == (3, 3) and second > first
    ids.follow(HandClock(999.0))
    third = ids.next()
    assert third & 1023 >= LENT_TAGS and ms_of(third) == 999_000


def test_ids_fit_63_bits_for_centuries() -> None:
    assert Ids(HandClock(8_000_000_000.0), 1023).next() < 2**63  # the year 2223


def test_the_clock_of_ids_is_the_systems_unless_one_is_given() -> None:
    assert ms_of(Ids().next()) > 1_700_000_000_000


def test_events_have_names_of_their_own() -> None:
    names = [event.value for event in Event]
    assert len(set(names)) == len(names)
    assert all("." in name and name == name.lower() for name in names)
