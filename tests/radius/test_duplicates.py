"""Retransmissions (RFC 5080 section 2.2.2): one reply for one request, however often it is sent."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from radius_server.duplicates import Admission, Duplicates
from tests.examples import examples

FIRST, SECOND = b"\1\7" + b"a" * 40, b"\1\7" + b"a" * 39 + b"b"
"""The octets of two requests that begin alike: code, identifier and authenticator are the same."""


def test_the_first_is_new_and_its_copies_are_in_progress() -> None:
    duplicates = Duplicates(30, 100)
    assert duplicates.admit("key", FIRST, 0) is Admission.NEW
    assert [duplicates.admit("key", FIRST, at) for at in (0, 1, 29)] == [Admission.IN_PROGRESS] * 3


def test_once_answered_the_same_octets_are_sent_again() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("key", FIRST, 0)
    duplicates.complete("key", FIRST, b"reply")
    assert [duplicates.admit("key", FIRST, at) for at in (1, 2)] == [b"reply", b"reply"]


def test_a_reply_is_kept_for_its_seconds_and_no_longer() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("key", FIRST, 100)
    duplicates.complete("key", FIRST, b"reply")
    assert duplicates.admit("key", FIRST, 129.9) == b"reply"
    assert duplicates.admit("key", FIRST, 130) is Admission.NEW


def test_other_octets_under_the_same_key_replace_the_old_request() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("key", FIRST, 0)
    assert duplicates.admit("key", SECOND, 1) is Admission.NEW
    assert len(duplicates) == 1
    assert duplicates.admit("key", SECOND, 2) is Admission.IN_PROGRESS
    assert duplicates.admit("key", FIRST, 3) is Admission.NEW


def test_a_late_answer_to_a_replaced_request_is_not_kept_for_its_successor() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("key", FIRST, 0)
    duplicates.admit("key", SECOND, 1)
    duplicates.complete("key", FIRST, b"late")
    assert duplicates.admit("key", SECOND, 2) is Admission.IN_PROGRESS
    duplicates.forget("key", FIRST)
    assert duplicates.admit("key", SECOND, 3) is Admission.IN_PROGRESS


def test_keys_do_not_touch_one_another() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("one", FIRST, 0)
    assert duplicates.admit("other", FIRST, 0) is Admission.NEW
    duplicates.complete("one", FIRST, b"reply")
    assert duplicates.admit("other", FIRST, 0) is Admission.IN_PROGRESS


def test_after_silence_a_retransmission_is_a_new_request() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("key", FIRST, 0)
    duplicates.forget("key", FIRST)
    assert len(duplicates) == 0
    assert duplicates.admit("key", FIRST, 1) is Admission.NEW


def test_settling_what_was_never_admitted_keeps_nothing() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.complete("key", FIRST, b"reply")
    duplicates.forget("key", FIRST)
    assert len(duplicates) == 0


def test_over_the_limit_the_oldest_give_way() -> None:
    duplicates = Duplicates(30, 3)
    for at in range(5):
        duplicates.admit(at, FIRST, at)
        duplicates.complete(at, FIRST, bytes((at,)))
    assert len(duplicates) == 3
    assert [duplicates.admit(at, FIRST, 5) for at in (2, 3, 4)] == [b"\2", b"\3", b"\4"]
    assert duplicates.admit(0, FIRST, 5) is Admission.NEW


def test_without_room_copies_are_known_and_what_is_new_leaves_no_trace() -> None:
    duplicates = Duplicates(30, 100)
    duplicates.admit("key", FIRST, 0)
    assert duplicates.admit("key", FIRST, 1, room=False) is Admission.IN_PROGRESS
    duplicates.complete("key", FIRST, b"reply")
    assert duplicates.admit("key", FIRST, 2, room=False) == b"reply"
    assert duplicates.admit("key", SECOND, 3, room=False) is Admission.NO_ROOM
    assert duplicates.admit("other", FIRST, 4, room=False) is Admission.NO_ROOM
    assert len(duplicates) == 1
    assert duplicates.admit("key", FIRST, 5) == b"reply"


def test_stale_entries_are_swept_out_by_new_ones() -> None:
    duplicates = Duplicates(30, 1000)
    for at in range(100):
        duplicates.admit(at, FIRST, 0)
    for at in range(100, 200):
        duplicates.admit(at, FIRST, 31)
    assert len(duplicates) == 100


class DuplicatesMachine(RuleBasedStateMachine):
    """Compared with a simple model: only expired entries are forgotten, or the oldest over the limit."""

    LIMIT, SECONDS = 4, 10

    def __init__(self) -> None:
        super().__init__()
        self.duplicates = Duplicates(self.SECONDS, self.LIMIT)
        self.now = 0.0
        self.known: dict[int, tuple[bytes, float, bytes | None]] = {}

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.integers(0, 6), octets=st.sampled_from([FIRST, SECOND]), room=st.booleans())
    def admit(self, key: int, octets: bytes, room: bool) -> None:
        before = self.known.get(key)
        found = self.duplicates.admit(key, octets, self.now, room=room)
        if before is not None and before[0] == octets and before[1] > self.now:
            assert found == (Admission.IN_PROGRESS if before[2] is None else before[2])
        elif not room:
            assert found is Admission.NO_ROOM
        else:
            assert found is Admission.NEW
            self.known.pop(key, None)
            self.known[key] = (octets, self.now + self.SECONDS, None)
            while len(self.known) > self.LIMIT:
                del self.known[next(iter(self.known))]

    @rule(key=st.integers(0, 6), octets=st.sampled_from([FIRST, SECOND]), reply=st.binary(max_size=2))
    def complete(self, key: int, octets: bytes, reply: bytes) -> None:
        self.duplicates.complete(key, octets, reply)
        known = self.known.get(key)
        if known is not None and known[0] == octets:
            self.known[key] = (octets, known[1], reply)

    @rule(key=st.integers(0, 6), octets=st.sampled_from([FIRST, SECOND]))
    def forget(self, key: int, octets: bytes) -> None:
        self.duplicates.forget(key, octets)
        known = self.known.get(key)
        if known is not None and known[0] == octets:
            del self.known[key]

    @invariant()
    def bounded(self) -> None:
        assert len(self.duplicates) <= self.LIMIT


DuplicatesMachine.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestDuplicates = DuplicatesMachine.TestCase
