"""What `sekisho doctor` says of the database server: what a verdict's durability rests on there. It only reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from otp_core.audit import ms_of
from otp_core.checks import CheckResult, CheckState
from otp_core.store.postgresql import partitions
from otp_core.store.postgresql.address import Address, weakness
from otp_core.store.revisions import OLDEST_TABLE, REACHED_TABLE
from otp_core.store.schema import metadata

_CLOCK_WARN, _CLOCK_FAIL = 5.0, 30.0
"""Seconds between this machine's clock and the server's; the second is a time step."""

_RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE"]
_SHOWN = 3
"""Tables that a line names."""

_SETTINGS = text(
    "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'), "
    "current_setting('synchronous_standby_names'), current_setting('synchronous_commit'), "
    "extract(epoch FROM clock_timestamp())"
)
ARCHIVE = "database archive"
_ARCHIVE = text(
    "SELECT current_setting('archive_mode'), current_setting('wal_level'), last_archived_wal, "
    "CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN last_failed_wal END, "
    "extract(epoch FROM clock_timestamp() - last_archived_time)::float FROM pg_stat_archiver"
)
_LACKING = text(
    "SELECT c.relname, string_agg(r.name, ', ' ORDER BY r.name), quote_ident(n.nspname), quote_ident(current_user) "
    "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, unnest(CAST(:rights AS text[])) AS r(name) "
    "WHERE c.oid = to_regclass(quote_ident(c.relname)) AND c.relname = ANY (:tables) "
    "AND NOT has_table_privilege(c.oid, r.name) GROUP BY 1, 3 ORDER BY 1"
)
"""The rights that docs/postgresql.md grants to the role that serves."""

_HIDDEN = text(
    "SELECT quote_ident(n.nspname), quote_ident(current_user) FROM pg_class AS c JOIN pg_namespace AS n "
    "ON n.oid = c.relnamespace WHERE current_schema() IS NULL AND c.relname = :table "
    "AND NOT has_schema_privilege(n.oid, 'USAGE') LIMIT 1"
)
"""A store that is in a schema that this user may not use, where it may use no other: that could be another store's."""

_STANDBYS = text("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")


def facts(connection: Connection, address: Address) -> Iterator[CheckResult]:
    """Raises StoreUnavailable."""
    asked = time.time()
    version, fsync, pages, names, commit, at = connection.execute(_SETTINGS).one()
    off = float(at) - (asked + time.time()) / 2
    yield CheckResult(CheckState.OK, "database", f"PostgreSQL {version} answers: {address.place}")
    if fsync == "off" or pages == "off":
        text_ = "fsync or full_page_writes is off there: a crash of the server loses logins, and may damage the store"
        yield CheckResult(CheckState.FAIL, "database disk", f"{text_}; switch both on")
    else:
        yield CheckResult(CheckState.OK, "database disk", f"every commit is flushed (synchronous_commit is {commit})")
    yield _standbys(connection, names)
    yield archive(connection)
    if (weak := weakness(address)) is not None:
        yield CheckResult(CheckState.WARN, "database TLS", weak)
    yield _rights(connection)
    yield _clock(off)
    yield _parts(connection)


def lacking_rights(connection: Connection) -> str | None:
    """What this user may not do in which tables of the store, and the statement that helps; None: it has every right of
    the role that serves. Raises StoreUnavailable."""
    tables = [OLDEST_TABLE, REACHED_TABLE, *metadata.tables]
    rows = connection.execute(_LACKING, {"rights": _RIGHTS, "tables": tables}).all()
    if not rows:
        return None
    more = f", and {len(rows) - _SHOWN} tables more" if len(rows) > _SHOWN else ""
    shown = "; ".join(f"{rights} on {table}" for table, rights, _, _ in rows[:_SHOWN])
    schema, user = rows[0][2:]
    grant = f"GRANT {', '.join(_RIGHTS)} ON ALL TABLES IN SCHEMA {schema} TO {user}"
    return (
        f"this user lacks {shown}{more}: run as the owner of the tables: {grant}; see the roles in docs/postgresql.md"
    )


def hidden_store(connection: Connection) -> str | None:
    """Why a store that there is cannot be seen by this user, with the statement that helps; None: there is none. Raises
    StoreUnavailable."""
    row = connection.execute(_HIDDEN, {"table": REACHED_TABLE}).first()
    if row is None:
        return None
    schema, user = row
    return f"this user may not use the schema {schema}: run as its owner: GRANT USAGE ON SCHEMA {schema} TO {user}"


def _rights(connection: Connection) -> CheckResult:
    if (lacking := lacking_rights(connection)) is not None:
        return CheckResult(CheckState.FAIL, "database rights", lacking)
    return CheckResult(CheckState.OK, "database rights", "this user reads and writes every table")


def _standbys(connection: Connection, names: str) -> CheckResult:
    there = int(connection.execute(_STANDBYS).scalar_one())
    if not names:
        advice = "logins of the last moment are lost with the server; see synchronous_standby_names"
        return CheckResult(CheckState.WARN, "database standbys", f"none is synchronous: {advice}")
    if not there:
        advice = f"synchronous_standby_names is {names!r}, and none of them is connected: every login waits"
        return CheckResult(CheckState.FAIL, "database standbys", advice)
    return CheckResult(CheckState.OK, "database standbys", f"{there} synchronous, by {names!r}")


def archive(connection: Connection) -> CheckResult:
    """Whether the server keeps what a recovery to a moment needs, beside base backups. Raises StoreUnavailable."""
    mode, wal, last, failed, age = connection.execute(_ARCHIVE).one()
    if mode == "off":
        text_ = "archive_mode is off: no recovery to a moment, unless pg_receivewal or your provider keeps the log"
        return CheckResult(CheckState.WARN, ARCHIVE, text_)
    if failed:
        return CheckResult(CheckState.FAIL, ARCHIVE, f"{failed} could not be archived: see the database server's log")
    if last is None:
        return CheckResult(CheckState.WARN, ARCHIVE, f"archive_mode is {mode}, and nothing was archived yet")
    text_ = f"the log is archived (wal_level {wal}), lately {last}, {age / 60:,.0f} minutes ago"
    return CheckResult(CheckState.OK, ARCHIVE, text_)


def _parts(connection: Connection) -> CheckResult:
    raw: Any = connection.connection.driver_connection
    there = partitions.parts(raw)
    if not there or ms_of(there[-1].high) < partitions.month_behind(int(time.time() * 1000), 2):
        advice = "rows go into the default one, and are dropped slowly: run `sekisho init` as the owner of the tables"
        return CheckResult(
            CheckState.WARN, "database audit", f"the audit trail has no part for the next month: {advice}"
        )
    return CheckResult(CheckState.OK, "database audit", f"the trail has {len(there)} parts, the next months' included")


def _clock(off: float) -> CheckResult:
    if abs(off) < _CLOCK_WARN:
        return CheckResult(CheckState.OK, "database clock", f"is {abs(off):.1f} s from this machine's")
    state = CheckState.FAIL if abs(off) >= _CLOCK_FAIL else CheckState.WARN
    which = "ahead of" if off > 0 else "behind"
    text_ = f"is {abs(off):.0f} s {which} this machine's: one of them is wrong; check the time service of both"
    return CheckResult(state, "database clock", text_)
