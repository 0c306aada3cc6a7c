"""What is known of back ends: shares of answers, states, and the last minutes from figures of several processes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from admin_web.console.back_ends import MOST_NAMES, MOST_ROWS, link_of, shown, time_of
from otp_core.back_ends import BackEnd, Counts, Kind, Line, Now, Report, State, within
from otp_core.tally import SECONDS
from sekisho.metrics import families as f
from sekisho.metrics.back_ends import WINDOW_SECONDS, BackEndWatch, back_ends
from sekisho.metrics.board import Board, Figures, Key, Slot
from tests.core.settings_files import CLIENT, SECRET, STORE, good

CORE, VIP = BackEnd("core", Kind.RADIUS), BackEnd("vip", Kind.VIP, verifiers=("vip",))


def took(**numbers: int) -> list[float]:
    """A histogram with its sum. ``ms_25=3``: three within 25 ms; ``later``: beyond the last bound."""
    bounds = [f"ms_{bound * 1000:g}" for bound in SECONDS]
    return [*(float(numbers.get(name, 0)) for name in (*bounds, "later")), 1.5]


def test_a_share_of_the_answers_came_within_a_bound() -> None:
    answered = [int(one) for one in took(ms_5=50, ms_25=45, ms_1000=5)[:-1]]
    assert [within(answered, share) for share in (0.5, 0.51, 0.95, 0.951, 1.0)] == [0.005, 0.025, 0.025, 1.0, 1.0]
    assert within([0] * (len(SECONDS) + 1), 0.5) is None
    assert within([0] * len(SECONDS) + [1], 0.5) == math.inf
    assert [time_of(one) for one in (None, 0.0025, 0.1, 1.0, 2.5, math.inf)] == [
        "", "≤ 2.5 ms", "≤ 100 ms", "≤ 1 s", "≤ 2.5 s", "> 10 s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answered", "now", "state"),
    [
        (1, Now(3, 0), State.ANSWERS),
        (1, Now(3, 1), State.PARTLY),
        (1, Now(3, 3), State.SILENT),
        (0, Now(3, 0), State.NOT_ASKED),
        (0, Now(3, 3), State.SILENT),
        (1, Now(0, 0), State.NOT_ASKED),
    ],
)
def test_whether_it_answers_is_what_the_processes_say(answered: int, now: Now, state: State) -> None:
    ever = Counts((answered, *Counts().answered[1:]))
    assert Line(CORE, Counts(), ever, now).state is state


def write(slot: Slot, at: float, counts: dict[Key, list[float]], gauges: dict[Key, float]) -> None:
    assert slot.write(Figures(counts, gauges, written_at=at))


def test_the_last_minutes_are_those_of_all_processes_and_a_process_that_stands_still_says_nothing_of_now() -> None:
    slots, time = Board(3).slots, 1000.0
    took_there, unanswered = (f.UPSTREAM_SECONDS, "core"), (f.UPSTREAM_UNANSWERED, "core")
    alive: dict[Key, float] = {
        (f.UPSTREAM_DEAD, "core", "a:1"): 1.0,
        (f.UPSTREAM_DEAD, "core", "b:1"): 0.0,
    }
    dead = {**alive, (f.UPSTREAM_DEAD, "core", "b:1"): 1.0}
    write(slots[0], time, {took_there: took(ms_5=7), unanswered: [1.0]}, alive)
    watch = BackEndWatch(slots, [CORE, VIP], lambda: time)
    write(slots[0], time, {took_there: took(ms_5=9, ms_25=1), unanswered: [1.0]}, alive)
    write(slots[1], time, {took_there: took(later=1), unanswered: [4.0]}, dead)
    calls = (f.VIP_CALLS, "vip", "AuthenticateCredentials")
    vip: dict[Key, list[float]] = {(*calls, "done"): [2.0], (*calls, "no-answer"): [3.0], (*calls, "busy"): [1.0]}
    vip[f.VIP_SECONDS, "vip"] = took(ms_50=2)
    write(slots[2], time, vip, {(f.VIP_SILENT, "vip"): 1.0, **alive})
    core, other = watch.report().lines
    assert (core.lately.asked, core.lately.unanswered, core.ever.asked) == (8, 4, 16)
    assert core.now == Now(2, 1, (("a:1", 3), ("b:1", 1))), "one of three has never asked it"
    assert core.state is State.PARTLY
    assert (other.lately.asked, other.lately.unanswered, other.state) == (6, 4, State.SILENT)

    time = 1006.0
    write(slots[0], time, {took_there: took(ms_5=9, ms_25=1), unanswered: [1.0]}, alive)
    core = watch.report().lines[0]
    assert core.now == Now(1, 0, (("a:1", 1), ("b:1", 0))) and core.lately.asked == 8


def test_what_was_counted_before_the_window_is_forgotten() -> None:
    (slot,), time = Board(1).slots, 0.0
    watch = BackEndWatch([slot], [CORE], lambda: time)
    for number in range(1, 8):
        time = number * 100.0
        write(slot, time, {(f.UPSTREAM_SECONDS, "core"): took(ms_5=number)}, {})
        report = watch.report()
        assert report.seconds == min(time, WINDOW_SECONDS) and report.lines[0].lately.asked == min(number, 3)
        watch.sample()
    time = 5000.0
    assert watch.report().lines[0].lately.asked == 0, "a loop that stood still claims no more than it knows"


FACTORS = f"""
[[upstreams]]
name = "core"
servers = ["192.0.2.10:1812"]
secret = "{SECRET}"
[[upstreams]]
name = "unused"
servers = ["192.0.2.11:1812"]
secret = "{SECRET}"
[[upstreams]]
name = "old"
servers = ["192.0.2.12:1812"]
secret = "{SECRET}"
[[first_factors]]
name = "core-passwords"
type = "radius"
upstream = "core"
[[first_factors]]
name = "host"
type = "pam"
service = "other"
[[first_factors]]
name = "nobody"
type = "none"
[[verifiers]]
name = "otp"
type = "radius"
upstream = "core"
[pam]
[[pam.profiles]]
name = "ssh"
first_factor = "host"
"""


def test_the_settings_name_who_asks_whom(tmp_path: Path) -> None:
    realm = '[[radius.realms]]\nname = "branch"\nfirst_factor = "core-passwords"\n'
    clients = CLIENT + 'first_factor = "host"\n' + CLIENT.replace("vpn", "ib").replace("10.1", "10.2")
    clients += 'realms = ["branch"]\nshadow = "old"\n'
    found = back_ends(good(tmp_path, STORE + FACTORS + realm + clients).settings)
    assert found == (
        BackEnd("core", Kind.RADIUS, ("core-passwords",), ("otp",), (), ("ib",)),
        BackEnd("old", Kind.RADIUS, (), (), ("ib",), ("ib",)),
        BackEnd("host", Kind.PAM, ("host",), actors=("vpn", "pam:ssh")),
    )
    assert [link_of(one) for one in (*found, VIP)] == [
        "/audit?actor=ib", "/audit?actor=ib", "/clients", "/tokens?verifier=vip",
    ]  # fmt: skip
    assert back_ends(good(tmp_path, STORE + CLIENT).settings) == ()


def test_of_many_those_are_shown_first_that_somebody_has_to_look_at() -> None:
    servers = tuple((f"192.0.2.{number}:1812", number == 15) for number in range(16))
    lines = [Line(CORE._replace(name=f"n{number}"), Counts(), Counts(), Now(1, 0)) for number in range(30)]
    lines[29] = Line(CORE._replace(name="down"), Counts(), Counts(), Now(1, 1, servers))
    page = shown(Report(tuple(lines), 60.0), 100_000)
    assert (len(page.rows), page.more, page.since) == (MOST_ROWS, 10, 40_000)
    assert [row.line.back_end.name for row in page.rows[:2]] == ["down", "n0"]
    assert len(page.rows[0].servers) == MOST_NAMES and page.rows[0].servers[0] == ("192.0.2.15:1812", False)
