"""What a reload takes over of a section, and what waits for a restart and is named in the log."""

from __future__ import annotations

from structlog.testing import capture_logs

from otp_core.settings.reload import take_over, take_over_optional
from otp_core.settings.section import Section


class Example(Section):
    listen: str = "a"
    workers: int = 1
    text: str = "old"


STARTED = Example()
RESTART_KEYS = ("listen", "workers")


def test_all_but_the_restart_keys_is_taken_over() -> None:
    after = take_over("example", STARTED, Example(listen="b", text="new"), RESTART_KEYS)
    assert after == Example(listen="a", text="new")


def test_each_restart_key_that_has_changed_is_named() -> None:
    with capture_logs() as lines:
        take_over("example", STARTED, Example(workers=2, text="new"), RESTART_KEYS)
    assert [(line["event"], line["setting"]) for line in lines] == [
        ("a changed setting waits for a restart", "example.workers")
    ]


def test_a_key_that_was_set_back_is_not_named() -> None:
    first = take_over("example", STARTED, Example(workers=2), RESTART_KEYS)
    with capture_logs() as lines:
        assert take_over("example", first, Example(), RESTART_KEYS) == STARTED
    assert lines == []


def test_a_section_that_is_added_or_taken_out_waits_for_a_restart() -> None:
    for started, new in ((None, STARTED), (STARTED, None)):
        with capture_logs() as lines:
            assert take_over_optional("example", started, new, RESTART_KEYS) is None
        assert [(line["event"], line["section"]) for line in lines] == [
            ("a changed section waits for a restart", "example")
        ]


def test_a_section_that_is_left_out_before_and_after_is_nothing_to_say() -> None:
    with capture_logs() as lines:
        assert take_over_optional("example", None, None, RESTART_KEYS) is None
        assert take_over_optional("example", STARTED, Example(text="new"), RESTART_KEYS) == Example(text="new")
    assert lines == []
