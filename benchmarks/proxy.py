"""What a proxy costs: Sekisho with a RADIUS server behind it and a code, beside FreeRADIUS proxying to the same server.

`python -m benchmarks.proxy`. FreeRADIUS as a proxy asks for no code and remembers nothing. Sekisho is measured twice:
as a bare relay (mode password: the same work, and an audit row on the disk), with the code behind the password (mode
append), which is what it is for. The contenders take turns within each round, and ratios are taken within each. The
server behind, FreeRADIUS too, and the load generator share the machine with all of them.
"""

from __future__ import annotations

import os
import secrets
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import experiment, machine, tokens
from benchmarks.freeradius import ConfigText, program
from benchmarks.load import Aim, Credential, Door, LoadGenerator
from benchmarks.meter import Customers, Sample, measure
from benchmarks.processes import Process, free_port
from benchmarks.sekisho import Product

PEER, RELAY, WITH_CODE = "FreeRADIUS as a proxy, no code", "Sekisho, bare relay", "Sekisho, with the code"
TARGET, LEVEL = 0.5, 256
"""The share of PEER's logins that WITH_CODE has to reach, at so many requests under way."""

PASSWORD = b"correct horse"
_CUSTOMERS = 60_000

_HEAD = """
name = peer
confdir = @{folder}
run_dir = @{folder}
max_request_time = 30
cleanup_delay = 2
max_requests = 65536
hostname_lookups = no
log {
	destination = stdout
	auth = no
}
security {
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}
client in_front {
	ipaddr = @{source}
	secret = @{secret}
	require_message_authenticator = yes
}
thread pool {
	start_servers = @{threads}
	max_servers = @{threads}
	min_spare_servers = 1
	max_spare_servers = @{threads}
	max_requests_per_server = 0
	auto_limit_acct = no
}
"""

BEHIND = ConfigText(
    _HEAD
    + """
proxy_requests = no
modules {
	pap {
	}
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @{port}
		recv_buff = 4194304
	}
	authorize {
		update control {
			&Cleartext-Password := "correct horse"
		}
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
	}
	post-auth {
		update reply {
			&Message-Authenticator := 0x00
			&Class := 0x6b696e6b6f
		}
	}
}
"""
)

_PROXY = ConfigText(
    _HEAD
    + """
proxy_requests = yes
modules {
}
proxy server {
	default_fallback = no
}
home_server behind {
	type = auth
	ipaddr = 127.0.0.1
	port = @{behind}
	secret = @{behind_secret}
	response_window = 6
	status_check = none
	max_outstanding = 65536
}
home_server_pool behind {
	home_server = behind
}
realm NULL {
	auth_pool = behind
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @{port}
		recv_buff = 4194304
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
	}
	post-auth {
		update reply {
			&Message-Authenticator := 0x00
		}
	}
}
"""
)


class Contender(NamedTuple):
    """Something to measure. ``credential``: of a customer in a time step."""

    name: str
    process: Process
    door: Door
    credential: Callable[[int, int], Credential]
    customers: Customers


def main(words: Sequence[str] | None = None) -> int:
    options = experiment.parser("proxy", __doc__, rounds=5, seconds=2.0).parse_args(words)
    results = experiment.carry_out(
        "proxy", options, lambda folder, product: _measure(folder, product, options.rounds, options.seconds)
    )
    if results is not None:
        _print(results)
    return experiment.exit_code(results)


def _measure(folder: Path, product: Product, rounds: int, seconds: float) -> dict[str, Any]:
    facts, generator = machine.facts(folder), LoadGenerator(folder)
    samples: dict[tuple[str, int], list[Sample]] = {}
    with _contenders(folder, product) as contenders:
        for level in (1, 64, LEVEL):
            for _ in range(rounds):
                for one in contenders:
                    aim = Aim(one.door, outstanding=level, seconds=seconds)
                    most = int(12_000 * seconds)
                    found = measure(generator, one.process, one.customers, one.credential, aim, most)
                    samples.setdefault((one.name, level), []).append(found)
                    print(f"{level:4d} {one.name:32} {found.rate:8.0f}/s, lost {found.load.lost}", file=sys.stderr)
    return _results(facts, samples)


def _results(facts: dict[str, Any], samples: dict[tuple[str, int], list[Sample]]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for (name, level), found in samples.items():
        shares = [one.rate / peer.rate for one, peer in zip(found, samples[PEER, level], strict=True)]
        rows.append(
            {
                "name": name,
                "outstanding": level,
                "rate": statistics.median(one.rate for one in found),
                "share": statistics.median(shares),
                "p99_us": statistics.median(one.load.p99_us for one in found),
                "cpu_us": statistics.median(one.cpu_us for one in found),
                "lost": sum(one.load.lost for one in found),
                "wrong": sum(one.wrong - one.load.lost for one in found),
            }
        )
    (row,) = (one for one in rows if (one["name"], one["outstanding"]) == (WITH_CODE, LEVEL))
    met = float(row["share"]) >= TARGET and not row["lost"] and not row["wrong"]
    return {"machine": facts, "rows": rows, "target": TARGET, "met": met}


@contextmanager
def _contenders(folder: Path, product: Product) -> Iterator[list[Contender]]:
    behind = Door(free_port(), "127.0.0.1", secrets.token_hex(16).encode())
    front = Door(free_port(), "127.0.0.2", secrets.token_hex(16).encode())
    relay, code = (Door(0, f"127.0.0.{number}", secrets.token_hex(16).encode()) for number in (21, 22))
    more = upstream(behind) + client("password", relay) + client("append", code)
    for name in ("behind", "front", "sekisho"):
        (folder / name).mkdir(mode=0o700)
    with (
        running(folder / "behind", BEHIND, behind),
        running(folder / "front", _PROXY, front, behind) as proxy,
        product.serve(product.store(_CUSTOMERS), folder / "sekisho", more, workers=2) as serving,
    ):
        port = serving.doors["code"].port
        relay, code = (Door(port, one.source, one.secret) for one in (relay, code))
        yield [
            Contender(PEER, proxy, front, password, Customers(range(_CUSTOMERS))),
            Contender(RELAY, serving.process, relay, password, Customers(range(_CUSTOMERS))),
            Contender(WITH_CODE, serving.process, code, both, Customers(range(_CUSTOMERS))),
        ]


def password(number: int, step: int) -> Credential:
    return Credential(tokens.contract_id(number), PASSWORD)


def both(number: int, step: int) -> Credential:
    return Credential(tokens.contract_id(number), PASSWORD + tokens.code(tokens.seed(number), step))


def upstream(behind: Door, timeout: float = 2.0) -> str:
    """Settings: the server behind, which is waited for so many seconds."""
    return f"""
[[upstreams]]
name = "behind"
servers = ["127.0.0.1:{behind.port}"]
secret = "{behind.secret.decode()}"
relay_attributes = ["Class"]
timeout = {timeout}
[[first_factors]]
name = "behind"
type = "radius"
upstream = "behind"
"""


def client(mode: str, door: Door) -> str:
    """Settings: a gateway at this address whose passwords are asked behind."""
    return f"""
[[radius.clients]]
name = "proxy-{mode}"
network = "{door.source}/32"
secret = "{door.secret.decode()}"
mode = "{mode}"
reject_delay = 0
first_factor = "behind"
relay = true
"""


@contextmanager
def running(folder: Path, config: ConfigText, door: Door, behind: Door | None = None) -> Iterator[Process]:
    facts = {
        "folder": str(folder),
        "threads": str(max(2, os.cpu_count() or 2)),
        "source": door.source,
        "secret": door.secret.decode(),
        "port": str(door.port),
        "behind": "" if behind is None else str(behind.port),
        "behind_secret": "" if behind is None else behind.secret.decode(),
    }
    (folder / "radiusd.conf").write_text(config.substitute(facts))
    command = [program(), "-f", "-d", str(folder), "-n", "radiusd", "-l", "stdout"]
    with Process(command, folder / "radiusd.log") as process:
        process.wait_for("Ready to process requests")
        yield process


def _print(results: dict[str, Any]) -> None:
    print(f"{'':34}{'under way':>10}{'logins/s':>10}{'share':>8}{'p99 ms':>8}{'CPU us':>8}{'lost':>6}")
    for row in results["rows"]:
        print(
            f"{row['name']:34}{row['outstanding']:>10}{row['rate']:>10.0f}{row['share']:>8.2f}"
            f"{row['p99_us'] / 1000:>8.1f}{row['cpu_us']:>8.0f}{row['lost']:>6}"
        )
    print(f"target: {TARGET} of the peer's at {LEVEL}, nothing lost: {'met' if results['met'] else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
