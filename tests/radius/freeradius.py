"""FreeRADIUS 3.2 as a proxy in front of a server, in a folder of its own, for the journeys."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template

from tests.radius.tools import program
from tests.sekisho import SECRET, free_port

FRONT_SECRET = "between-gateway-and-proxy"


class _Text(Template):
    """Placeholders begin with @, because FreeRADIUS's configuration uses $ and %."""

    delimiter = "@"


_CONFIG = _Text("""
name = radiusd
confdir = @folder
logdir = @folder
run_dir = @folder
max_request_time = 30
cleanup_delay = 5
hostname_lookups = no
proxy_requests = yes
log {
	destination = stdout
	auth = no
}
security {
	reject_delay = 0
	status_server = no
}
thread pool {
	start_servers = 1
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 4
}
modules {
	always handled {
		rcode = handled
	}
}
proxy server {
	default_fallback = no
}
@homes
client gateway {
	ipaddr = 127.0.0.1
	secret = @front_secret
	require_message_authenticator = yes
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @port
	}
	authorize {
		update control {
			&Proxy-To-Realm := "NULL"
		}
	}
	pre-proxy {
		update proxy-request {
			&Message-Authenticator := 0x00
		}
	}
	post-proxy {
@post_proxy
	}
}
""")

README = Path(__file__).parent.parent.parent / "README.md"


def _readme_block(first: str) -> str:
    """The README's block that begins with this line."""
    _, begin, rest = README.read_text().partition(f"\n    {first}\n")
    assert begin, f"the README has lost its block {first!r}"
    lines = rest.split("\n")
    own = itertools.takewhile(lambda line: line.startswith("    ") or not line, lines)
    return "\n".join([first, *(line.removeprefix("    ") for line in own)]).rstrip()


def readme_homes(port: int, *more: int, window: float, zombie: int) -> str:
    """The README's lines for proxy.conf, with this server's address and secret, and the times that a test can wait.
    ``more``: ports of further servers of the pool."""
    text = _readme_block("home_server sekisho {")
    for shown, meant in (
        ("ipaddr = 192.0.2.10", "ipaddr = 127.0.0.1"),
        ("port = 1812", f"port = {port}"),
        ("secret = THE-SHARED-SECRET", f"secret = {SECRET}"),
        ("response_window = 6", f"response_window = {window}\nzombie_period = {zombie}\n{_CHECKS}"),
    ):
        assert text.count(shown) == 1, shown
        text = text.replace(shown, meant)
    first = text[: text.index("home_server_pool")]
    for number, further in enumerate(more, 2):
        another = first.replace("sekisho {", f"sekisho{number} {{").replace(f"port = {port}", f"port = {further}")
        text = text.replace("home_server_pool", f"{another}home_server_pool", 1)
    pool = "".join(f"\n        home_server = sekisho{number}" for number in range(2, len(more) + 2))
    return text.replace("home_server = sekisho\n", f"home_server = sekisho{pool}\n")


_CHECKS = "revive_interval = 120\ncheck_interval = 6\ncheck_timeout = 1\nnum_answers_to_alive = 3"


def readme_post_proxy() -> str:
    """The README's lines for a home server that does not answer; without them FreeRADIUS sends an Access-Reject."""
    return _readme_block("Post-Proxy-Type Fail-Authentication {")


class Proxy:
    """A running FreeRADIUS. ``port`` is where gateways ask, with FRONT_SECRET."""

    def __init__(self, folder: Path, *homes: int, window: float, zombie: int, post_proxy: str) -> None:
        self.port, self.log = free_port(), folder / "freeradius.log"
        values = {"folder": folder, "port": self.port, "front_secret": FRONT_SECRET, "post_proxy": post_proxy}
        text = _CONFIG.substitute(values, homes=readme_homes(*homes, window=window, zombie=zombie))
        (folder / "radiusd.conf").write_text(text)
        (folder / "radiusd.conf").chmod(0o600)
        command = [program("freeradius"), "-f", "-x", "-x", "-l", "stdout", "-n", "radiusd", "-d", str(folder)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def log_text(self) -> str:
        """Everything that FreeRADIUS has printed."""
        return self.log.read_text(errors="replace")

    def wait_for_log(self, text: str, *, times: int = 1, seconds: float = 20) -> None:
        """Wait until the log has this text. Raises AssertionError after ``seconds``, or if FreeRADIUS has ended."""
        end = time.monotonic() + seconds
        while self.log_text().count(text) < times:
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"{text!r} is not in the log of freeradius:\n{self.log_text()[-6000:]}")
            time.sleep(0.05)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


@contextlib.contextmanager
def proxy(
    folder: Path, *homes: int, window: float = 6, zombie: int = 40, post_proxy: str | None = None
) -> Iterator[Proxy]:
    """FreeRADIUS in front of the servers at the ports ``homes``, in that order. ``window``: seconds that it waits for
    one's answer; ``zombie``: seconds of failures until it counts as dead; ``post_proxy``: what that section says, the
    README's lines if left out."""
    folder.mkdir(exist_ok=True)
    one = Proxy(
        folder,
        *homes,
        window=window,
        zombie=zombie,
        post_proxy=readme_post_proxy() if post_proxy is None else post_proxy,
    )
    try:
        one.wait_for_log("Ready to process requests")
        yield one
    finally:
        one.close()
