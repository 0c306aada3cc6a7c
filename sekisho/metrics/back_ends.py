"""The back ends of the settings, and what the board's figures say of them for the last minutes: for the console.

A process that shows it keeps what was counted some minutes ago in its own memory; so its time begins anew with it. It
asks no back end, and writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from otp_core.back_ends import BackEnd, Counts, Kind, Line, Now, Report
from otp_core.tally import BUSY, NO_ANSWER
from sekisho.metrics import families as f
from sekisho.metrics.board import Figures, Slot
from sekisho.settings import Settings
from sekisho.standstill import STANDS_STILL

WINDOW_SECONDS = 300.0
SAMPLE_SECONDS = 10.0

_KINDS = {"ldap": Kind.LDAP, "pam": Kind.PAM}
_TOOK = {Kind.VIP: f.VIP_SECONDS}


def back_ends(settings: Settings) -> tuple[BackEnd, ...]:
    """Those that somebody asks, in the order of the settings: upstreams, first factors of their own, VIP."""
    return (*_upstreams(settings), *_first_factors(settings), *_vip(settings))


def _upstreams(settings: Settings) -> Iterator[BackEnd]:
    for upstream in settings.upstreams:
        factors = tuple(one.name for one in settings.first_factors if one.upstream == upstream.name)
        verifiers = tuple(one.name for one in settings.verifiers if one.upstream == upstream.name)
        shadowed = tuple(one.name for one in settings.radius.clients if one.shadow == upstream.name)
        if factors or verifiers or shadowed:
            actors = dict.fromkeys([*_actors(settings, factors), *shadowed])
            yield BackEnd(upstream.name, Kind.RADIUS, factors, verifiers, shadowed, tuple(actors))


def _first_factors(settings: Settings) -> Iterator[BackEnd]:
    for one in settings.first_factors:
        if one.type in _KINDS:
            actors = tuple(_actors(settings, (one.name,)))
            yield BackEnd(one.name, _KINDS[one.type], first_factors=(one.name,), actors=actors)


def _vip(settings: Settings) -> Iterator[BackEnd]:
    for one in settings.verifiers:
        if one.type == "vip":
            yield BackEnd(one.name, Kind.VIP, verifiers=(one.name,))


def _actors(settings: Settings, factors: Sequence[str]) -> Iterator[str]:
    """Who has its passwords checked by one of these first factors."""
    realms = {one.name for one in settings.radius.realms if one.first_factor in factors}
    for client in settings.radius.clients:
        if client.first_factor in factors or realms & set(client.realms):
            yield client.name
    for profile in settings.pam.profiles if settings.pam is not None else ():
        if profile.first_factor in factors:
            yield f"pam:{profile.name}"
    if settings.web is not None and settings.web.first_factor in factors:
        yield "web"


class BackEndWatch:
    """See ``BackEnds``. ``slots``: of all processes; ``named``: by ``back_ends``; ``clock``: time.monotonic()."""

    def __init__(
        self, slots: Sequence[Slot], named: Sequence[BackEnd], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots, self._named, self._clock = slots, named, clock
        self._samples: deque[tuple[float, list[Counts]]] = deque()
        self.sample()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.sample()

    def sample(self) -> None:
        """Remember what has been counted so far; forget what was counted before the window."""
        now = self._clock()
        self._samples.append((now, self._counts(self._figures())))
        while self._samples[0][0] < now - WINDOW_SECONDS:
            self._samples.popleft()

    def report(self) -> Report:
        """See ``BackEnds``."""
        now, figures = self._clock(), self._figures()
        begun, before = next((one for one in self._samples if one[0] >= now - WINDOW_SECONDS), self._samples[-1])
        fresh = [one for one in figures if one.written_at > now - STANDS_STILL]
        lines = [
            Line(one, counts.since(then), counts, _now(one, fresh))
            for one, counts, then in zip(self._named, self._counts(figures), before, strict=True)
        ]
        return Report(tuple(lines), now - begun)

    def _figures(self) -> list[Figures]:
        return [slot.read() for slot in self._slots]

    def _counts(self, figures: Sequence[Figures]) -> list[Counts]:
        return [_counts(one, figures) for one in self._named]


def _counts(one: BackEnd, figures: Iterable[Figures]) -> Counts:
    """The sum over all processes."""
    answered, unanswered = [0] * len(Counts().answered), 0.0
    took = (_TOOK.get(one.kind, f.UPSTREAM_SECONDS), one.name)
    for process in figures:
        for at, number in enumerate(process.counts.get(took, ())[:-1]):
            answered[at] += int(number)
        unanswered += sum(_unanswered(one, process))
    return Counts(tuple(answered), int(unanswered))


def _unanswered(one: BackEnd, process: Figures) -> Iterator[float]:
    if one.kind is not Kind.VIP:
        yield from process.counts.get((f.UPSTREAM_UNANSWERED, one.name), ())
        return
    for key, values in process.counts.items():
        if key[:2] == (f.VIP_CALLS, one.name) and key[3] in (BUSY, NO_ANSWER):
            yield values[0]


def _now(one: BackEnd, processes: Iterable[Figures]) -> Now:
    """``processes``: whose gauges are of this moment. One that has never asked has nothing to say, unless it knows that
    nobody would answer: a directory that no page asks is not well because of that."""
    number, down, servers = 0, 0, dict[str, int]()
    for process in processes:
        dead = _dead(one, process)
        is_down = bool(dead) and all(dead.values())
        if is_down or _counts(one, [process]).asked:
            number += 1
            down += is_down
        if one.kind is not Kind.VIP:
            for address, value in dead.items():
                servers[address] = servers.get(address, 0) + value
    return Now(number, down, tuple(servers.items()))


def _dead(one: BackEnd, process: Figures) -> dict[str, bool]:
    """Its servers, by their addresses, and whether each counts as dead there; VIP is one, without an address."""
    if one.kind is Kind.VIP:
        silent = process.gauges.get((f.VIP_SILENT, one.name))
        return {} if silent is None else {"": bool(silent)}
    return {key[2]: bool(value) for key, value in process.gauges.items() if key[:2] == (f.UPSTREAM_DEAD, one.name)}
