"""What PostgreSQL's errors mean to the store, by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).

One table; what it does not name is StoreUnavailable with PostgreSQL's own words.
"""

from __future__ import annotations

import psycopg

from otp_core.model import Conflict, StoreBusy, StoreUnavailable

_AGAIN = frozenset({"40001", "40P01", "22012"})
"""Serialisation failure, deadlock, and a row that is not as it was read (``login_batch``: it divides by zero). Nothing
was written. Not 40003, which says that nobody knows whether it was."""

_BUSY = frozenset({"55P03"})

_ADVICE = {
    "08": "the connection broke: it is opened again by itself",
    "25006": "this server is a standby now: the primary is looked for again",
    "25P03": "the transaction stood still for too long",
    "28": "user or password are not accepted: check user, password_file and the server's pg_hba.conf",
    "3D": "create the database first: createdb --owner=USER DATABASE",
    "3F": "there is no schema that this user may use: see the roles in docs/postgresql.md",
    "40003": "whether it was written is not known: that is settled where the primary is",
    "42501": "this user lacks a right: see the roles in docs/postgresql.md",
    "42P01": "the store is not complete: run `sekisho init`",
    "53100": "the database server's disk is full: make room there; work goes on by itself",
    "53300": "the database server takes no more connections: raise max_connections there",
    "53": "the database server is out of resources",
    "57P": "the database server stops or starts: it is asked again by itself",
    "58": "the database server's disk reports errors: see its log",
    "XX": "the database may be damaged: see the server's log",
}
"""By the longest beginning of the SQLSTATE that stands here."""

_WORDS = (
    ("password authentication failed", _ADVICE["28"]),
    ("no password supplied", "it asks for a password: name the file with it in store.password_file"),
    ("no encryption", "the server's pg_hba.conf may ask for TLS: write no sslmode=disable into store.url"),
    ("pg_hba.conf", "the server's pg_hba.conf has to let this user into this database from this address: add a line"),
    ("does not exist", "create user and database first: createuser USER; createdb --owner=USER DATABASE"),
    ("certificate verify failed", "the server's certificate is not signed by what store.ca_file holds"),
    ("does not match host name", "the server's certificate is for another name: write that name in store.url"),
    ("root certificate file", "store.ca_file holds no certificate, or cannot be read: check its path and rights"),
    ("does not support SSL", "the server has no TLS: switch it on there (ssl = on), or write sslmode=disable"),
    (
        "session is read-only",
        "every server of store.url is a standby (is a fail-over under way?), or default_transaction_read_only is on "
        "for this user or database",
    ),
    ("server is in hot standby mode", "every server of store.url is a standby: is a fail-over under way?"),
    ("remaining connection slots", _ADVICE["53300"]),
    ("too many clients", _ADVICE["53300"]),
)
"""Of errors while connecting, which libpq gives as text alone."""

_OTHERWISE = "check store.url, and that the database server runs"


def unavailable(error: BaseException | None) -> StoreUnavailable:
    """What to raise for an error of the driver, and what an operator should read."""
    state = getattr(error, "sqlstate", None) or ""
    text = _words_of(error)
    if state in _AGAIN:
        return Conflict(f"store: {text}: somebody else was faster")
    if state in _BUSY:
        return StoreBusy("store: another act holds its turn to write: is an import or a migration running?")
    return StoreUnavailable(f"store: {text}; {_advice(state, text)}")


def is_lost(error: BaseException | None) -> bool:
    """Whether the connection is of no use any more."""
    state = getattr(error, "sqlstate", None) or ""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        not state or state[:2] in ("08", "57", "58", "XX") or state in ("25006", "25P03", "40003")
    )


def _advice(state: str, text: str) -> str:
    for length in (5, 3, 2):
        if len(state) >= length and state[:length] in _ADVICE:
            return _ADVICE[state[:length]]
    return next((advice for words, advice in _WORDS if words in text), _OTHERWISE)


def _words_of(error: BaseException | None) -> str:
    """Without DETAIL, which repeats values of the row: a name or a digest must not be in an error."""
    diagnostic = getattr(error, "diag", None)
    text = getattr(diagnostic, "message_primary", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))[:600]
