"""FreeRADIUS stripped to what this needs, twice: codes checked and forgotten, and codes checked and spent in SQLite.

FreeRADIUS as an administrator gets it from Debian is in freeradius_debian.py. These two were tuned by trial on two
cores, in FreeRADIUS's favour wherever there was a choice: as many threads as cores (more were slower), the raw key
instead of base32, no module that is not needed, a receive buffer that holds a burst, one SELECT and one UPDATE a login,
WAL. Both demand the code and a Message-Authenticator, and sign their replies, as later releases do by themselves.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from string import Template

from benchmarks import tokens
from benchmarks.contender import ACCEPT, CODE_DEMANDED, REJECT, Running
from benchmarks.load import Credential, Door
from benchmarks.processes import Process, Unusable, free_port
from otp_core.store.sqlite import driver


class ConfigText(Template):
    """FreeRADIUS uses $ and % for itself."""

    delimiter = "@"


_SERVER = ConfigText("""
name = peer
confdir = @{folder}
run_dir = @{folder}
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
	start_servers = @{threads}
	max_servers = @{threads}
	min_spare_servers = 1
	max_spare_servers = @{threads}
	max_requests_per_server = 0
	auto_limit_acct = no
}
modules {
	totp {
	}
@{modules}
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @{port}
		recv_buff = 4194304
	}
	authorize {
		update request {
			&TOTP-Password := &User-Password
		}
@{find_key}
		update control {
			&Auth-Type := totp
		}
	}
	authenticate {
		Auth-Type totp {
			totp
@{spend}
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

_FILES = ConfigText("""
	files {
		filename = @{folder}/users
	}
""")

_SQL = ConfigText("""
	expr {
	}
	always spent {
		rcode = reject
	}
	sql {
		dialect = "sqlite"
		driver = "rlm_sql_sqlite"
		sqlite {
			filename = "@{folder}/peer.db"
			busy_timeout = 10000
		}
		radius_db = "peer"
		read_groups = no
		read_profiles = no
		read_clients = no
		open_query = "PRAGMA wal_autocheckpoint = 8000"
		pool {
			start = @{threads}
			min = @{threads}
			max = @{threads}
			spare = 0
			uses = 0
			lifetime = 0
			idle_timeout = 0
		}
	}
""")

FIND_KEY = """
		update control {
			&TOTP-Key := "%{sql:SELECT key FROM token WHERE customer = '%{User-Name}'}"
		}
"""

# The number of changed rows is the answer: of two requests with one code, one gets 1.
SPEND = """
			if (ok) {
				update control {
					&Tmp-Integer-0 := "%{expr:%l / 30}"
				}
				if ("%{sql:UPDATE token SET last_step = %{control:Tmp-Integer-0} WHERE customer = '%{User-Name}' AND last_step < %{control:Tmp-Integer-0}}" != 1) {
					spent
				}
			}
"""  # noqa: E501 - one line of FreeRADIUS's language


class FreeRadiusStripped:
    """rlm_totp with its users in memory, and nothing else that a login would have to pass."""

    name = "freeradius-totp-stripped"
    title = "FreeRADIUS, rlm_totp, configuration stripped to what this needs"
    setup = (
        "users in memory; written by hand for this comparison: modules `files` and `totp` alone, as many threads as "
        "cores, a larger receive buffer, Message-Authenticator demanded and sent"
    )
    lacks = "accepts the same code again and again; nothing durable, no lockout, no drift, no audit, seeds in clear"
    answers: Mapping[str, str] = {**CODE_DEMANDED, "the same code again": ACCEPT}

    @contextmanager
    def start(self, folder: Path, customers: int) -> Iterator[Running]:
        with (folder / "users").open("w") as users:
            for number in range(customers):
                users.write(f"{tokens.contract_id(number)} TOTP-Key := 0x{tokens.seed(number).hex()}\n\n")
        with serve(folder, _FILES, "\t\tfiles", "") as running:
            yield running

    def credential(self, number: int, step: int) -> Credential:
        return code_alone(number, step)


class FreeRadiusSqlite:
    """rlm_totp, users in SQLite, and a conditional UPDATE that spends the step: durable, once."""

    name = "freeradius-sqlite"
    title = "FreeRADIUS, rlm_totp, users and spent steps in SQLite"
    setup = (
        "the stripped configuration with one SELECT and one conditional UPDATE a login; WAL, a disk flush for each "
        "commit, a connection for each thread"
    )
    lacks = "one commit for each login; no lockout, no drift, no audit, seeds in clear"
    answers: Mapping[str, str] = {**CODE_DEMANDED, "the same code again": REJECT}

    @contextmanager
    def start(self, folder: Path, customers: int) -> Iterator[Running]:
        _fill_database(folder / "peer.db", customers)
        with serve(folder, _SQL, FIND_KEY, SPEND) as running:
            yield running

    def credential(self, number: int, step: int) -> Credential:
        return code_alone(number, step)


def version() -> str:
    """What `freeradius -v` calls itself; Unusable if there is none."""
    said = subprocess.run([program(), "-v"], capture_output=True, text=True, check=False).stdout
    return said.partition(",")[0].removeprefix("radiusd: ").strip()


def code_alone(number: int, step: int) -> Credential:
    return Credential(tokens.contract_id(number), tokens.code(tokens.seed(number), step))


def _fill_database(path: Path, customers: int) -> None:
    """WAL stays with the file; synchronous=FULL is SQLite's default and FreeRADIUS leaves it alone."""
    with driver.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "CREATE TABLE token (customer TEXT PRIMARY KEY, key TEXT NOT NULL, last_step INTEGER NOT NULL DEFAULT 0)"
            " WITHOUT ROWID"
        )
        rows = ((tokens.contract_id(number), f"0x{tokens.seed(number).hex()}") for number in range(customers))
        database.executemany("INSERT INTO token (customer, key) VALUES (?, ?)", rows)
    database.close()


@contextmanager
def serve(
    folder: Path, modules: ConfigText, find_key: str, spend: str, *, threads: int | None = None
) -> Iterator[Running]:
    """Serves from ``folder``; ``threads``: as many as cores. ``modules`` may name @{folder} and @{threads}."""
    door = Door(free_port(), "127.0.0.2", secrets.token_hex(16).encode())
    facts = {
        "folder": str(folder),
        "threads": str(threads or max(2, os.cpu_count() or 2)),
        "source": door.source,
        "secret": door.secret.decode(),
        "port": str(door.port),
    }
    config = _SERVER.substitute(facts, modules=modules.substitute(facts), find_key=find_key, spend=spend)
    (folder / "radiusd.conf").write_text(config)
    folder.chmod(0o700)
    command = [program(), "-f", "-d", str(folder), "-n", "radiusd", "-l", "stdout"]
    with Process(command, folder / "radiusd.log") as process:
        process.wait_for("Ready to process requests")
        yield Running(process, door)


def program() -> str:
    for name in ("freeradius", "radiusd"):
        if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):  # which only root's PATH has on Debian
            return found
    raise Unusable("FreeRADIUS is not installed (Debian: apt install freeradius freeradius-utils)")
