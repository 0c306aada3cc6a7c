"""A gateway with a steady stream of code logins, as a program: each code once, the same octets again after a second.

Plan (JSON) on standard input, one line of JSON for each login on standard output. Latency is from sending to the moment
at which the kernel received the reply, so that it counts the server's time and not this program's.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import pyotp

from tests.radius_peer import ACCEPT, Packet, Where, access_request, read_reply, readable

SOCKETS, IDENTIFIERS = 8, 256
TRIES, AGAIN_SECONDS = 6, 1.0
REPLAY_EVERY = 10
"""Of so many accepted logins one is followed by another request with the same code."""
SO_TIMESTAMPNS = 35
"""socket(7); Linux."""


class Plan(TypedDict):
    """``people``: contract ID and seed (base32) of each; all of them take longer than 30 s to go round."""

    server: Where
    source: str
    secret: str
    rate: float
    seconds: float
    people: list[tuple[str, str]]


@dataclass
class Login:
    """One request: ``replay`` if its code was accepted before. Times are time.time()."""

    packet: Packet
    contract_id: str
    code: str
    replay: bool
    due: float
    sent: float = 0.0
    again: float = 0.0
    tries: int = 0

    def line(self, verdict: str, latency: float) -> str:
        told = {
            "customer": self.contract_id,
            "verdict": verdict,
            "sent": self.sent,
            "latency": latency,
            "tries": self.tries,
            "replay": self.replay,
            "late": self.sent - self.due,
        }
        return json.dumps(told)


@dataclass
class Stream:
    plan: Plan
    sockets: list[socket.socket] = field(default_factory=list)
    under_way: dict[tuple[int, int], Login] = field(default_factory=dict)
    replays: deque[tuple[str, str]] = field(default_factory=deque)
    begun: int = 0
    accepted: int = 0

    def run(self) -> None:
        self.sockets = [_socket(self.plan["server"], self.plan["source"]) for _ in range(SOCKETS)]
        start = time.time()
        people, rate, number = self.plan["people"], self.plan["rate"], 0
        total = int(rate * self.plan["seconds"])
        while number < total or self.under_way or self.replays:
            now = time.time()
            while number < total and start + number / rate <= now:
                contract_id, seed = people[number % len(people)]
                self.begin(contract_id, pyotp.TOTP(seed).at(now), start + number / rate)
                number += 1
            while self.replays:
                self.begin(*self.replays.popleft(), now, replay=True)
            self.repeat_or_give_up(now)
            pause = start + number / rate - time.time() if number < total else 0.1
            for ready in readable(self.sockets, min(pause, 0.1)):
                self.drain(ready)

    def begin(self, contract_id: str, code: str, due: float, *, replay: bool = False) -> None:
        place = self.begun % SOCKETS, self.begun // SOCKETS % IDENTIFIERS
        self.begun += 1
        assert place not in self.under_way, "more under way than a gateway has identifiers"
        packet = access_request(contract_id, code, secret=self.plan["secret"], identifier=place[1])
        login = Login(packet, contract_id, code, replay, due)
        self.under_way[place] = login
        login.sent = time.time()
        self.send(place, login)

    def send(self, place: tuple[int, int], login: Login) -> None:
        login.tries += 1
        login.again = time.time() + AGAIN_SECONDS
        self.sockets[place[0]].send(login.packet.octets)

    def repeat_or_give_up(self, now: float) -> None:
        """In the order of sending: the oldest first."""
        overdue = [(place, login) for place, login in self.under_way.items() if login.again <= now]
        for place, login in overdue:
            if login.tries < TRIES:
                self.send(place, login)
            else:
                del self.under_way[place]
                print(login.line("silence", now - login.sent))

    def drain(self, ready: socket.socket) -> None:
        number = self.sockets.index(ready)
        while True:
            try:
                octets, extra, _, _ = ready.recvmsg(5000, 64)
            except BlockingIOError:
                return
            login = self.under_way.get((number, octets[1]))
            if login is None or not login.packet.octets or not _answers(login.packet, octets):
                continue  # the second reply to a request that was sent twice
            del self.under_way[number, octets[1]]
            verdict = read_reply(login.packet, octets).name
            print(login.line(verdict, _received(extra) - login.sent))
            if verdict == ACCEPT and not login.replay:
                self.accepted += 1
                if self.accepted % REPLAY_EVERY == 0:
                    self.replays.append((login.contract_id, login.code))


def _answers(packet: Packet, octets: bytes) -> bool:
    try:
        read_reply(packet, octets)
    except AssertionError:
        return False
    return True


def _received(extra: Sequence[tuple[int, int, bytes]]) -> float:
    for level, kind, octets in extra:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@ll", octets[:16])
            return float(seconds + nanoseconds / 1e9)
    raise AssertionError("the kernel told no time")


def _socket(server: Where, source: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((source, 0))
    made.connect(tuple(server))
    made.setblocking(False)
    return made


def base32(seed: bytes) -> str:
    return base64.b32encode(seed).decode()


if __name__ == "__main__":
    Stream(json.load(sys.stdin)).run()
