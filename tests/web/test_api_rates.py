"""The rate of a key: a second's worth at once, refilled by the time, and bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from admin_web.api.rates import LONGEST_WAIT, RateLimiter


def test_a_second_brings_a_seconds_worth_and_no_more() -> None:
    limiter = RateLimiter(10)
    assert [limiter.take(1, 3, 0.0).is_over for _ in range(4)] == [False, False, False, True]
    assert [limiter.take(1, 3, 0.34).is_over for _ in range(2)] == [False, True]
    assert [limiter.take(1, 3, 3600.0).is_over for _ in range(4)] == [False, False, False, True]


def test_a_key_does_not_use_another_ones_rate_up() -> None:
    limiter = RateLimiter(10)
    assert [limiter.take(1, 1, 0.0).is_over for _ in range(2)] == [False, True]
    assert not limiter.take(2, 1, 0.0).is_over


def test_who_is_told_to_wait_gets_through_behind_that() -> None:
    limiter = RateLimiter(10)
    for per_second in (1, 2, 100):
        while not (rate := limiter.take(per_second, per_second, 0.0)).is_over:
            pass
        assert not limiter.take(per_second, per_second, float(rate.headers["Retry-After"])).is_over


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 2)), max_size=200))
def test_no_key_ever_gets_more_than_its_rate(asked: list[tuple[int, float]]) -> None:
    limiter, now, passed = RateLimiter(100), 0.0, dict.fromkeys(range(1, 31), 0)
    for key, later in asked:
        now += later
        rate = limiter.take(key, 5, now)
        passed[key] += not rate.is_over
        assert passed[key] <= 5 + 5 * now + 1e-6
        assert 0 <= rate.remaining <= 5 and 0 <= rate.reset <= 1


def test_a_key_gets_no_more_refusals_a_second_than_answers() -> None:
    limiter, now, told = RateLimiter(10), 0.0, list[float]()
    for _ in range(10):
        assert limiter.take(1, 10, now).wait == 0.0
    for _ in range(1000):  # ten times as much as it may, in ten seconds
        rate = limiter.take(1, 10, now)
        if rate.is_over:
            assert 0.0 <= rate.wait <= LONGEST_WAIT
            told.append(now + rate.wait)
        now += 0.01
    assert max(told) <= 10.0 + LONGEST_WAIT and told[0] == 0.0
    assert sum(at < LONGEST_WAIT for at in told) <= 11
    assert limiter.take(2, 10, now).wait == 0.0 and not limiter.take(2, 10, now).is_over


def test_only_so_many_keys_are_remembered() -> None:
    limiter = RateLimiter(2)
    for key in range(1000):
        limiter.take(key, 1, 0.0)
    assert len(limiter._buckets) == 2
    assert limiter.take(999, 1, 0.0).is_over
