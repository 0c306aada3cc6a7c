"""Strangers who attack every door, as a program: each attack for some seconds, in turn and then all at once.

Facts (JSON) on standard input; what was done is counted on standard output at the end, which is SIGTERM. What the
server answers does not matter here: the logins beside it are looked at.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import resource
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypedDict

from pam_module.frame_codec import encode
from tests.pam.host import start
from tests.radius_peer import Where, access_request

MARKS = "a" + "\u0301" * 8000
GROWING = "\ufdfa" * 5000
FLOOD_A_SECOND = 1500
FORMS_A_SECOND = 60
LINKS = [
    "/language/ja?to=/" + "a" * 36 + "!",
    "/language/ja?to=/" + "a" * 3000 + "!",
    "/language/en?to=" + "%2F-" * 1000,
    "/language/ja?to=//evil.example/" + "a-" * 500,
    "/language/" + "j" * 3000 + "?to=/",
    "/language/ja?to=/%00%0d%0aSet-Cookie:a=b",
    "/language/ja?" + "&".join(f"to=/{number}" for number in range(300)),
]


class Facts(TypedDict):
    """Where the doors are. ``people``: customers with the password that follows."""

    radius: Where
    secret: str
    portal: int
    soft_token: int
    pam: str
    people: list[str]
    password: str
    turn_seconds: float


@dataclass
class Strangers:
    facts: Facts
    until: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    turns: list[tuple[str, float, float]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Nothing, each attack alone, all of them at once for four times as long, and so on. ``turns``: what took place
        when (time.time())."""
        attacks: list[Callable[[Strangers], None]] = [
            slow_connections, open_handshakes, long_names, hostile_links, sessions, soft_tokens,
            wrong_passwords, radius_flood, frames,
        ]  # fmt: skip
        while not self.over.is_set():
            turns: list[list[Callable[[Strangers], None]]] = [[pause], *([one] for one in attacks), attacks]
            for turn in turns:
                begun = time.time()
                self.until = time.monotonic() + self.facts["turn_seconds"] * (1 if len(turn) == 1 else 4)
                threads = [threading.Thread(target=self.attack, args=(one,)) for one in turn]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                name = turn[0].__name__ if len(turn) == 1 else "all at once"
                self.turns.append((name, begun, time.time()))
                if self.over.is_set():
                    break

    def attack(self, attack: Callable[[Strangers], None]) -> None:
        """As often as it ends, until its time is over. Doors that close connections are part of it."""
        while self.goes_on():
            with contextlib.suppress(OSError, http.client.HTTPException):
                attack(self)

    def goes_on(self) -> bool:
        return not self.over.is_set() and time.monotonic() < self.until

    def each(self, name: str, a_second: float) -> Iterator[int]:
        """Numbers, so many a second, until the attack's time is over."""
        begun, number = time.monotonic(), 0
        while self.goes_on():
            if number > (time.monotonic() - begun) * a_second:
                time.sleep(0.005)
                continue
            yield number
            number += 1
            self.done[name] += 1


def pause(strangers: Strangers) -> None:
    while strangers.goes_on():
        time.sleep(0.05)


def slow_connections(strangers: Strangers) -> None:
    """Ten addresses with a hundred connections each: idle, a slow header, a slow body, a request and then nothing."""
    starts = [
        b"",
        b"GET / HT",
        b"POST /enrol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\na=",
        b"GET /enrol HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    hold(strangers, "slow connections", strangers.facts["portal"], starts)


def open_handshakes(strangers: Strangers) -> None:
    hold(strangers, "handshakes left open", strangers.facts["soft_token"], [b"", b"\x16\x03\x01\x02\x00\x01"])


def hold(strangers: Strangers, name: str, port: int, starts: list[bytes]) -> None:
    with contextlib.ExitStack() as stack:
        for number in strangers.each(name, 600):
            if number == 1000:
                break
            source = (f"127.0.20.{number % 10 + 1}", 0)
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, source_address=source))
            with contextlib.suppress(ConnectionError):
                one.sendall(starts[number % len(starts)])
        while strangers.goes_on():
            time.sleep(0.1)


@contextlib.contextmanager
def browser(port: int, *, tls: bool = False) -> Iterator[http.client.HTTPConnection]:
    source = (f"127.0.{random.randint(30, 39)}.{random.randint(1, 250)}", 0)
    if tls:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        one: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=10, source_address=source, context=trusting
        )
    else:
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=source)
    try:
        yield one
    finally:
        one.close()


def form(one: http.client.HTTPConnection, port: int, **fields: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://localhost:{port}"}
    one.request("POST", "/enrol", urllib.parse.urlencode(fields), {**headers, "Host": f"localhost:{port}"})
    one.getresponse().read()


def long_names(strangers: Strangers) -> None:
    port = strangers.facts["portal"]
    with browser(port) as one:
        for number in strangers.each("forms with long names", FORMS_A_SECOND):
            typed = [(MARKS, "x"), ("taro", MARKS), (GROWING, GROWING), (f"{number}" + GROWING[:900], "x")][number % 4]
            form(one, port, contract_id=typed[0], password=typed[1], key="")


def hostile_links(strangers: Strangers) -> None:
    with browser(strangers.facts["portal"]) as one:
        for number in strangers.each("hostile links", 200):
            one.request("GET", LINKS[number % len(LINKS)])
            one.getresponse().read()


def sessions(strangers: Strangers) -> None:
    """Right passwords, as fast as they are looked at, and pages without a cookie."""
    port = strangers.facts["portal"]
    for number in strangers.each("sessions", FORMS_A_SECOND):
        with browser(port) as one:
            if number % 3:
                one.request("GET", "/enrol")
                one.getresponse().read()
            else:
                whom = random.choice(strangers.facts["people"])
                form(one, port, contract_id=whom, password=strangers.facts["password"], key="")


def soft_tokens(strangers: Strangers) -> None:
    port = strangers.facts["soft_token"]
    for _ in strangers.each("soft tokens", FORMS_A_SECOND):
        with browser(port, tls=True) as one:
            one.request("POST", "/token", headers={"Sec-Fetch-Site": "same-origin", "Host": f"localhost:{port}"})
            one.getresponse().read()


def gateway(strangers: Strangers, source: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((source, 0))
    made.connect(tuple(strangers.facts["radius"]))
    return made


def wrong_passwords(strangers: Strangers) -> None:
    """From many stations, at the gateway that asks for passwords; replies are not read."""
    people = [*strangers.facts["people"], "nobody", GROWING[:80], "taro" + "\u0301" * 100]
    with gateway(strangers, "127.0.2.1") as one:
        for number in strangers.each("wrong passwords", 150):
            station = f"198.51.{number % 250}.{random.randint(1, 250)}:{number % 60000}".encode()
            packet = access_request(
                people[number % len(people)],
                f"wrong {number}",
                secret=strangers.facts["secret"],
                more=[(31, station)],
            )
            one.send(packet.octets)


def radius_flood(strangers: Strangers) -> None:
    """Unknown clients, known ones with a wrong authenticator, random octets."""
    right = access_request("taro", "1", secret=strangers.facts["secret"]).octets
    with gateway(strangers, "127.0.9.1") as unknown, gateway(strangers, "127.0.2.2") as known:
        for number in strangers.each("datagrams", FLOOD_A_SECOND):
            with contextlib.suppress(ConnectionRefusedError):
                match number % 4:
                    case 0:
                        unknown.send(right)
                    case 1:
                        known.send(right[:4] + os.urandom(16) + right[20:])
                    case 2:
                        known.send(right[:22] + os.urandom(16) + right[38:])
                    case _:
                        known.send(os.urandom(random.randint(0, 1000)))


def frames(strangers: Strangers) -> None:
    """Bad ones, good ones without an answer, connections that are silent or end at once."""
    good, held = encode(start("taro")), contextlib.ExitStack()
    said = [b"", good, good[:7], os.urandom(300), b"\xff" * 4096, good + good, b"\0\0\0\0" * 500]
    with held:
        for number in strangers.each("frames", 200):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.settimeout(2)
            held.enter_context(one)
            with contextlib.suppress(OSError):
                one.connect(strangers.facts["pam"])
                one.sendall(said[number % len(said)])
            if number % 4:
                one.close()
            if number % 1200 == 1199:
                held.close()


def main() -> None:
    os.nice(10)  # their own processor time is elsewhere
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    strangers = Strangers(json.load(sys.stdin))
    signal.signal(signal.SIGTERM, lambda *_: strangers.over.set())
    strangers.run()
    print(json.dumps({"done": strangers.done, "turns": strangers.turns}))


if __name__ == "__main__":
    main()
