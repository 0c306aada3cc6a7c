"""The memory in which processes leave their figures, and the page that is made of them."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from otp_core.tally import SECONDS
from sekisho.metrics import families as f
from sekisho.metrics.board import HALF, NOTHING, Board, Figures, Key, Slot, added
from sekisho.metrics.families import FAMILIES, Kind
from sekisho.metrics.page import page

DOCS = Path(__file__).parent.parent.parent / "docs" / "metrics.md"


def figures(number: float) -> Figures:
    return Figures(
        {(f.LOGINS, "radius", "本店", "accepted", "right-code"): [number]}, {(f.QUEUE,): number}, 1.5, "full"
    )


def test_what_was_written_last_is_read_and_each_slot_is_its_own() -> None:
    first, second = Board(2).slots
    assert first.read() == NOTHING
    for number in range(1, 8):
        assert first.write(figures(number))
        assert first.read() == figures(number)
    assert second.read() == NOTHING


def test_who_is_killed_while_writing_leaves_what_was_there_before() -> None:
    board = Board(1)
    (slot,) = board.slots
    slot.write(figures(1))
    slot.write(figures(2))
    begin = 4096 + 1 * HALF  # the third would be written here
    board._memory[begin + 16 : begin + 40] = b"x" * 24
    assert slot.read() == figures(2)
    struct.pack_into("=QII", board._memory, begin, 3, 24, 0)  # a header whose checksum is wrong
    assert slot.read() == figures(2)
    struct.pack_into("=QII", board._memory, begin, 3, 2**32 - 1, 0)  # and one whose length is
    assert slot.read() == figures(2)


def test_the_next_process_in_a_slot_goes_on_where_the_last_one_ended() -> None:
    board = Board(1)
    board.slots[0].write(figures(5))
    slot = Slot(board._memory, 4096)  # as another process has it
    assert slot.write(Figures(added(slot.read().counts, figures(3).counts), {}))
    assert list(board.slots[0].read().counts.values()) == [[8.0]]


def test_too_many_figures_are_not_written_and_do_no_harm() -> None:
    (slot,) = Board(1).slots
    slot.write(figures(1))
    crowd: dict[Key, list[float]] = {(f.DROPS, f"cause {number:01000}"): [1.0] for number in range(600)}
    assert not slot.write(Figures(crowd, {}))
    assert slot.read() == figures(1)


def test_counts_of_all_processes_are_summed_and_one_that_doubts_the_clock_is_enough() -> None:
    some = figures(2)._replace(gauges={(f.CLOCK,): 1.0, (f.QUEUE,): 3.0})
    more = figures(5)._replace(gauges={(f.CLOCK,): 0.0, (f.QUEUE,): 4.0})
    text = page([some, more], {(f.BACKUP,): 7.0}, {}).decode()
    assert 'sekisho_logins_total{client="本店",door="radius",reason="right-code",verdict="accepted"} 7.0' in text
    assert "\nsekisho_login_queue_length 7.0\n" in text
    assert "\nsekisho_clock_believed 0.0\n" in text
    assert "\nsekisho_backup_age_seconds 7.0\n" in text


def test_a_histogram_is_cumulative_and_ends_at_infinity() -> None:
    values = [1.0] * (len(SECONDS) + 1) + [12.5]
    text = page([Figures({(f.BATCH_SECONDS,): values}, {})], {}, {}).decode()
    assert f'sekisho_batch_seconds_bucket{{le="+Inf"}} {len(SECONDS) + 1}.0' in text
    assert "sekisho_batch_seconds_sum 12.5" in text
    assert 'sekisho_batch_seconds_bucket{le="0.0025"} 2.0' in text


def test_the_documents_have_the_table_that_is_served() -> None:
    rows = re.findall(r"^\| `(sekisho_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(one.name, one.kind, ", ".join(one.labels), one.text) for one in FAMILIES]
    served = {family.name: family for family in text_string_to_metric_families(page([], {}, {}).decode())}
    assert set(served) == {one.name.removesuffix("_total") for one in FAMILIES}
    assert all(served[one.name.removesuffix("_total")].type == one.kind for one in FAMILIES)
    assert all(served[one.name.removesuffix("_total")].documentation == one.text for one in FAMILIES)


def test_names_keep_to_the_conventions_that_promtool_checks() -> None:
    for one in FAMILIES:
        assert re.fullmatch(r"sekisho(_[a-z]+)+", one.name)
        assert one.name.endswith("_total") == (one.kind is Kind.COUNTER)
        assert not one.name.endswith(("_count", "_sum", "_bucket"))
        assert not {"customer", "token", "address", "source", "le", "quantile"} & set(one.labels)
        assert not re.search(r"_(ms|milliseconds|minutes|hours|days|kb|mb|gauge|counter|histogram)(_|$)", one.name)
        assert bool(one.bounds) == (one.kind is Kind.HISTOGRAM)
        assert one.text.endswith(".")
