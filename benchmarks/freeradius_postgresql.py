"""FreeRADIUS with rlm_totp, its users and spent steps in PostgreSQL: what an administrator builds who wants several
machines to remember one and the same thing.

One SELECT and one conditional UPDATE a login, as with SQLite in freeradius.py; each thread has a connection.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import tokens
from benchmarks.contender import CODE_DEMANDED, REJECT, Running
from benchmarks.freeradius import FIND_KEY, SPEND, ConfigText, code_alone, serve
from benchmarks.load import Credential
from tests.postgresql import USER, Server

THREADS = 32
"""By trial: they wait for the disk together, so more than there are cores."""
_DATABASE = "peer"
_MODULES = """
	expr {
	}
	always spent {
		rcode = reject
	}
	sql {
		dialect = "postgresql"
		driver = "rlm_sql_postgresql"
		radius_db = "host=%s port=%d user=%s dbname=%s"
		read_groups = no
		read_profiles = no
		read_clients = no
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
"""


class FreeRadiusPostgresql:
    """rlm_totp, users in PostgreSQL, and a conditional UPDATE that spends the step: durable, once, on any machine."""

    name = "freeradius-postgresql"
    title = "FreeRADIUS, PostgreSQL"
    setup = f"the stripped configuration with one SELECT and one conditional UPDATE a login; {THREADS} threads"
    lacks = "one commit for each login; no lockout, no drift, no audit, seeds in clear"
    answers: Mapping[str, str] = {**CODE_DEMANDED, "the same code again": REJECT}

    def __init__(self, server: Server) -> None:
        self._server = server

    @contextmanager
    def start(self, folder: Path, customers: int) -> Iterator[Running]:
        self._fill(customers)
        modules = ConfigText(_MODULES % (self._server.folder, self._server.port, USER, _DATABASE))
        with serve(folder, modules, FIND_KEY, SPEND, threads=THREADS) as running:
            yield running

    def credential(self, number: int, step: int) -> Credential:
        return code_alone(number, step)

    def _fill(self, customers: int) -> None:
        self._server.create_database(_DATABASE)
        with self._server.connect(_DATABASE) as database:
            database.execute("CREATE TABLE token (customer text PRIMARY KEY, key text, last_step bigint DEFAULT 0)")
            with database.cursor() as cursor, cursor.copy("COPY token (customer, key) FROM STDIN") as copy:
                for number in range(customers):
                    copy.write_row((tokens.contract_id(number), f"0x{tokens.seed(number).hex()}"))
            database.execute("VACUUM ANALYZE token")
