"""Logins whose password a directory checks: Sekisho, with and without a code, beside FreeRADIUS's rlm_ldap, which asks
the same slapd the same two things (who is it, and one bind) over LDAPS. `python -m benchmarks.directory`.

Contenders take turns in each round; a figure is the median of the rounds, its brackets are the extremes. slapd has the
passwords in clear, so what it costs is the protocol; it runs on the same cores, as does the load generator. Sekisho
flushes its audit trail to the disk before it answers, FreeRADIUS keeps nothing: on a slow disk that decides.
"""

import argparse
import secrets
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tokens
from benchmarks.freeradius import ConfigText, program
from benchmarks.load import Aim, Credential, Door, LoadGenerator
from benchmarks.meter import Customers, measure
from benchmarks.processes import Process, Unusable, free_port, workplace
from benchmarks.sekisho import Product
from tests.ldap.slapd import BASE, PEOPLE, SERVICE, SERVICE_PASSWORD, Slapd, slapd

_CUSTOMERS, _UNDER_WAY = 4000, 64
_SEKISHO = ConfigText("""
[[first_factors]]
name = "directory"
type = "ldap"
urls = ["@{url}"]
ca_file = "@{ca_file}"
bind_dn = "@{service}"
bind_password_file = "bind.password"
base = "@{base}"
filter = "(uid={user})"
connections = @{connections}
[throttle]
password_free_failures = 100
""")
_FREERADIUS = ConfigText("""
name = peer
confdir = @{folder}
run_dir = @{folder}
libdir = /usr/lib/freeradius
max_request_time = 30
cleanup_delay = 5
max_requests = 65536
hostname_lookups = no
proxy_requests = no
log {
	destination = stdout
	auth = no
}
security {
	max_attributes = 200
	reject_delay = 0
	status_server = no
}
client bench {
	ipaddr = @{source}
	secret = @{secret}
	require_message_authenticator = yes
}
thread pool {
	start_servers = @{connections}
	max_servers = @{connections}
	min_spare_servers = 1
	max_spare_servers = @{connections}
	max_requests_per_server = 0
	auto_limit_acct = no
}
modules {
	ldap {
		server = "@{url}"
		identity = "@{service}"
		password = "@{service_password}"
		base_dn = "@{base}"
		update {
			control:Tmp-String-0 := 'cn'
		}
		user {
			base_dn = "${..base_dn}"
			filter = "(uid=%{User-Name})"
		}
		group {
		}
		options {
			chase_referrals = no
			rebind = no
			res_timeout = 10
			net_timeout = 3
		}
		tls {
			ca_file = "@{ca_file}"
			require_cert = "demand"
		}
		pool {
			start = @{connections}
			min = @{connections}
			max = @{connections}
			spare = 0
			uses = 0
			lifetime = 0
			idle_timeout = 0
		}
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
		ldap
		update control {
			&Auth-Type := ldap
		}
	}
	authenticate {
		Auth-Type ldap {
			ldap
		}
	}
	post-auth {
		update reply {
			&Message-Authenticator := 0x00
		}
		Post-Auth-Type REJECT {
			update reply {
				&Message-Authenticator := 0x00
			}
		}
	}
}
""")


@dataclass(frozen=True, slots=True)
class _Contender:
    """``credential``: of a customer in a step."""

    title: str
    process: Process
    door: Door
    credential: Callable[[int, int], Credential]


def _password(number: int, _step: int) -> Credential:
    return Credential(tokens.contract_id(number), tokens.password(number).encode())


def _with_code(number: int, step: int) -> Credential:
    return Credential(
        tokens.contract_id(number), tokens.password(number).encode() + tokens.code(tokens.seed(number), step)
    )


def _people() -> str:
    return "".join(
        f"\ndn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: x\nsn: x\nuserPassword: {password}\n"
        for uid, password in ((tokens.contract_id(one), tokens.password(one)) for one in range(_CUSTOMERS))
    )


@contextmanager
def _sekisho(product: Product, server: Slapd, folder: Path, connections: int) -> Iterator[Sequence[_Contender]]:
    facts = {
        "url": f"ldaps://127.0.0.1:{server.tls_port}",
        "ca_file": server.authority.file,
        "service": SERVICE,
        "base": BASE,
    }
    folder.mkdir()
    (folder / "bind.password").write_text(SERVICE_PASSWORD)
    (folder / "bind.password").chmod(0o600)
    more = _SEKISHO.substitute(facts, connections=connections)
    store = product.store(_CUSTOMERS)
    with product.serve(store, folder, more, workers=2, first_factor="directory") as serving:
        doors = serving.doors
        yield (
            _Contender("Sekisho, password alone", serving.process, doors["password"], _password),
            _Contender("Sekisho, password and code", serving.process, doors["append"], _with_code),
        )


@contextmanager
def _freeradius(server: Slapd, folder: Path, connections: int) -> Iterator[Sequence[_Contender]]:
    folder.mkdir(mode=0o700)
    door = Door(free_port(), "127.0.0.2", secrets.token_hex(16).encode())
    facts: Mapping[str, object] = {
        "folder": folder, "source": door.source, "secret": door.secret.decode(), "port": door.port, "url": f"ldaps://127.0.0.1:{server.tls_port}",
        "service": SERVICE, "service_password": SERVICE_PASSWORD, "base": BASE, "ca_file": server.authority.file,
        "connections": connections,
    }  # fmt: skip
    (folder / "radiusd.conf").write_text(_FREERADIUS.substitute(facts))
    command = [program(), "-f", "-d", str(folder), "-n", "radiusd", "-l", "stdout"]
    with Process(command, folder / "radiusd.log") as process:
        process.wait_for("Ready to process requests")
        yield (_Contender("FreeRADIUS, rlm_ldap, password alone", process, door, _password),)


def main() -> None:
    """Exit code 1 if a login was lost or refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sekisho", type=Path, help="the command to measure (left out: this Python's)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    connections = 8
    with workplace(Path("benchmarks/out")) as folder, ExitStack() as exits:
        (folder / "slapd").mkdir()
        server = exits.enter_context(slapd(folder / "slapd", people=_people()))
        product = Product(folder, options.sekisho)
        contenders = [
            *exits.enter_context(_freeradius(server, folder / "freeradius", 2 * connections)),
            *exits.enter_context(_sekisho(product, server, folder / "sekisho", connections)),
        ]
        generator = LoadGenerator(folder)
        rates = _measured(contenders, generator, options.rounds, options.seconds)
    base = statistics.median(rates[0])
    for contender, found in zip(contenders, rates, strict=True):
        middle = statistics.median(found)
        extremes = f"[{min(found):.0f} to {max(found):.0f}]"
        print(f"{contender.title:40} {middle:7.0f} logins/s {extremes}, {middle / base:.2f} of rlm_ldap")


def _measured(
    contenders: Sequence[_Contender], generator: LoadGenerator, rounds: int, seconds: float
) -> list[list[float]]:
    """Logins a second, by contender and round. Raises Unusable if one is lost or refused."""
    customers = [Customers(range(_CUSTOMERS)) for _ in contenders]
    rates: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds + 1):  # the first one warms up
        for at, contender in enumerate(contenders):
            sample = measure(
                generator,
                contender.process,
                customers[at],
                contender.credential,
                Aim(contender.door, outstanding=_UNDER_WAY, seconds=seconds, timeout=4.0),
                _CUSTOMERS,
            )
            if sample.wrong:
                raise Unusable(f"{contender.title}: {sample.wrong} of {sample.load.sent} logins were not accepted")
            if number:
                rates[at].append(sample.rate)
            print(
                f"{contender.title}: {sample.rate:.0f}/s, p99 {sample.load.p99_us / 1000:.0f} ms, "
                f"{sample.cpu_us:.0f} us of CPU",
                file=sys.stderr,
            )
    return rates


if __name__ == "__main__":
    try:
        main()
    except Unusable as problem:
        sys.exit(f"unusable: {problem}")
