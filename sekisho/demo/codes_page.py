"""A page with the codes that the sample customers' tokens show now. Of the demo alone, on loopback."""

from __future__ import annotations

import contextlib
import html
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sekisho.demo.people import Sample

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="{left}">
<meta name="viewport" content="width=device-width"><title>Codes of the sample tokens</title>
<h1>Codes of the sample tokens</h1><p>The next ones in {left} s.</p><table>{rows}</table></html>
"""


@contextlib.contextmanager
def codes_page(port: int, people: Sequence[Sample]) -> Iterator[None]:
    """Serve the page at this TCP port of 127.0.0.1 while the body runs. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """Answer with the page, whatever the path is; only to who asks for this host, not to a site's script."""
            known = self.headers.get("Host", "") in (f"localhost:{port}", f"127.0.0.1:{port}")
            octets = page(people, time.time()).encode() if known else b"write http://localhost\n"
            self.send_response(200 if known else 403)
            self.send_header("Content-Type", f"text/{'html' if known else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(octets)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(octets)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the demo's output is the tour."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


def page(people: Sequence[Sample], at: float) -> str:
    """The page at this moment, in seconds since the epoch. It asks for itself again when the codes change."""
    rows = "".join(
        f"<tr><th>{html.escape(one.contract_id)}<td>{html.escape(one.token_id)}<td><code>{one.code()}</code>"
        for one in people
        if one.token_id is not None
    )
    return _PAGE.format(left=30 - int(at) % 30, rows=rows)
