"""FreeRADIUS 3.2 as a proxy in front of a server, in a folder of its own, for the journeys."""

from __future__ import annotations

import contextlib
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
home_server sekisho {
	type = auth
	ipaddr = 127.0.0.1
	port = @home
	secret = @secret
	response_window = @window
	zombie_period = @zombie
	revive_interval = 120
	status_check = status-server
	check_interval = 6
	check_timeout = 1
	num_answers_to_alive = 3
}
home_server_pool sekisho {
	type = fail-over
	home_server = sekisho
}
realm sekisho {
	auth_pool = sekisho
	nostrip
}
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
			&Proxy-To-Realm := "sekisho"
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


def readme_post_proxy() -> str:
    """The README's lines for a home server that does not answer; without them FreeRADIUS sends an Access-Reject."""
    _, begin, rest = README.read_text().partition("    Post-Proxy-Type Fail-Authentication {\n")
    lines, end, _ = rest.partition("\n    }\n")
    assert begin and end, "the README's FreeRADIUS part has lost its lines"
    return begin + lines + end


class Proxy:
    """A running FreeRADIUS. ``port`` is where gateways ask, with FRONT_SECRET."""

    def __init__(self, folder: Path, home: int, *, window: float, zombie: int, post_proxy: str) -> None:
        self.port, self.log = free_port(), folder / "freeradius.log"
        values = {"folder": folder, "home": home, "port": self.port, "window": window, "zombie": zombie}
        values["post_proxy"] = post_proxy
        text = _CONFIG.substitute(values, secret=SECRET, front_secret=FRONT_SECRET)
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
    folder: Path, home: int, *, window: float = 6, zombie: int = 40, post_proxy: str | None = None
) -> Iterator[Proxy]:
    """FreeRADIUS in front of the server at port ``home``. ``window``: seconds that it waits for that one's answer;
    ``zombie``: seconds of failures until it counts as dead; ``post_proxy``: what that section says, the README's lines
    if left out."""
    folder.mkdir(exist_ok=True)
    one = Proxy(
        folder, home, window=window, zombie=zombie, post_proxy=readme_post_proxy() if post_proxy is None else post_proxy
    )
    try:
        one.wait_for_log("Ready to process requests")
        yield one
    finally:
        one.close()
