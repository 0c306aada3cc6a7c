"""FreeRADIUS 3.2 as an upstream, in a folder of its own: it knows one password for everybody, brings attributes along,
asks questions of its own, and keeps a list of what it was asked.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template

from tests.radius.tools import program
from tests.sekisho import PASSWORD, free_port

SECRET = "between-us-and-the-upstream"


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
proxy_requests = no
log {
	destination = stdout
	auth = no
}
security {
	reject_delay = @reject_delay
	status_server = yes
}
thread pool {
	start_servers = 2
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 4
}
modules {
	pap {
	}
	chap {
	}
	mschap {
	}
	always handled {
		rcode = handled
	}
}
@client
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @port
		recv_buff = 4194304
	}
	authorize {
		update control {
			&Cleartext-Password := "@password"
		}
@questions
		chap
		mschap
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
	post-auth {
@attributes
@post_auth
	}
}
""")

PAGE = Path(__file__).parents[2] / "docs" / "upstreams.md"


def block_of_page(begin: str) -> str:
    """The page's indented block that begins with this line."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", PAGE.read_text(), re.MULTILINE)
    found = [re.sub(r"^ {4}", "", one.strip("\n"), flags=re.MULTILINE) for one in blocks]
    (block,) = [one for one in found if one.startswith(begin)]
    return block


def _client() -> str:
    block = block_of_page("client sekisho {")
    for shown, meant in (("192.0.2.10", "127.0.0.1"), ("THE-SHARED-SECRET", SECRET)):
        assert block.count(shown) == 1
        block = block.replace(shown, meant)
    return block


ATTRIBUTES = """
		update reply {
			&Class += 0x6f6e65
			&Class += 0x74776f
			&Filter-Id := "ib"
			&Cisco-AVPair += "shell:priv-lvl=15"
			&Session-Timeout := 60
			&Cisco-AVPair += "ip:addr-pool=kinko"
			&MS-MPPE-Send-Key := 0x00112233445566778899aabbccddeeff
			&Tunnel-Password:1 := "through the tunnel"
		}
"""

QUESTIONS = """
		if (&NAS-Identifier == "asks") {
			if (!&State) {
				update reply {
					&Message-Authenticator := 0x00
					&State := 0x70696e
					&Reply-Message := "Enter a new PIN"
				}
				update control {
					&Response-Packet-Type := Access-Challenge
				}
				handled
			}
			elsif (&State == 0x70696e && &User-Password == "4711") {
				update reply {
					&Message-Authenticator := 0x00
					&State := 0x616761696e
					&Reply-Message := "The same again"
				}
				update control {
					&Response-Packet-Type := Access-Challenge
				}
				handled
			}
			elsif (&State == 0x616761696e && &Calling-Station-Id == "203.0.113.7") {
				update control {
					&Cleartext-Password := "4711"
				}
			}
		}
"""


class FreeRadius:
    """A running FreeRADIUS. ``port`` is where we ask, with SECRET. ``strict``: as the page has it."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        attributes: str = "",
        questions: str = "",
        reject_delay: int = 0,
        strict: bool = True,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.port, self.log = port or free_port(), folder / "freeradius.log"
        text = _CONFIG.substitute(
            folder=folder,
            port=self.port,
            client=_client() if strict else _client().replace("authenticator = yes", "authenticator = no"),
            post_auth=block_of_page("update reply {"),
            password=PASSWORD,
            attributes=attributes,
            questions=questions,
            reject_delay=reject_delay,
        )
        (folder / "radiusd.conf").write_text(text)
        (folder / "radiusd.conf").chmod(0o600)
        command = [program("freeradius"), "-f", "-x", "-x", "-l", "stdout", "-n", "radiusd", "-d", str(folder)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.wait_for("Ready to process requests")

    def log_text(self) -> str:
        """Everything that FreeRADIUS has printed."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 20) -> None:
        """Wait until the log has this text. Raises AssertionError."""
        end = time.monotonic() + seconds
        while text not in self.log_text():
            if time.monotonic() > end or self._process.poll() is not None:
                raise AssertionError(f"{text!r} is not in the log of freeradius:\n{self.log_text()[-6000:]}")
            time.sleep(0.05)

    def asked(self, user: str) -> list[str]:
        """The text of each Access-Request for this user, as FreeRADIUS prints what it received."""
        packets = re.findall(r"Received Access-Request .*?\n((?:\(\d+\)   .*\n)+)", self.log_text())
        return [one for one in packets if f'User-Name = "{user}"' in one]

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


@contextlib.contextmanager
def freeradius(folder: Path, **options: object) -> Iterator[FreeRadius]:
    """FreeRADIUS as an upstream."""
    one = FreeRadius(folder, **options)  # type: ignore[arg-type]
    try:
        yield one
    finally:
        one.close()


def settings_of(port: int, **more: object) -> str:
    """The tables of an upstream at this port, and of the first factor that asks it."""
    values = {"timeout": 0.5, "tries": 3, "dead_seconds": 1.0, **more}
    lines = "\n".join(
        f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )
    return f"""
[[upstreams]]
name = "core"
servers = ["127.0.0.1:{port}"]
secret = "{SECRET}"
{lines}
[[first_factors]]
name = "core-passwords"
type = "radius"
upstream = "core"
"""
