"""The HTTP load counts what was answered and what was not, and times from when a request was due."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.http_load import Stream, run


class Answering(BaseHTTPRequestHandler):
    """/STATUS: this status; /0: the connection is closed; /slow: 200 after 0.2 s."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/0":
            self.close_connection = True
            return
        if self.path == "/slow":
            time.sleep(0.2)
        self.send_response(200 if self.path == "/slow" else int(self.path[1:]))
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def asked(*paths: str) -> list[bytes]:
    return [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths]


def test_each_answer_is_counted_and_none_is_counted_as_none() -> None:
    with serving() as port:
        fine, mixed = run(
            port,
            [
                Stream("fine", asked(*["/200"] * 50), rate=1000),
                Stream("mixed", asked("/200", "/429", "/0", "/200"), rate=1000, connections=2),
            ],
            patience=0.5,
        )
    assert (fine.statuses, len(fine.times)) == ({200: 50, 0: 0}, 50)
    assert (mixed.statuses, len(mixed.times)) == ({200: 2, 429: 1, 0: 1}, 2)


def test_a_request_that_waits_for_the_one_before_is_late() -> None:
    with serving() as port:
        (heard,) = run(port, [Stream("slow", asked("/slow", "/slow", "/slow"), rate=1000, connections=1)])
    assert [round(seconds, 1) >= least for seconds, least in zip(heard.times, (0.2, 0.4, 0.6), strict=True)] == [
        True
    ] * 3
