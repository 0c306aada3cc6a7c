"""The table of all metrics: name, kind, labels and what it says. docs/metrics.md has the same table; a test compares.

Names keep to Prometheus' conventions (https://prometheus.io/docs/practices/naming/). Values of labels are bounded: by
this program, or by the settings (``client``, ``upstream``, ``server``, ``verifier``, ``outlet``). Never a customer, a
token or their address.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from otp_core.tally import SECONDS, SIZES


class Kind(StrEnum):
    """As Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """``bounds``: of a histogram's buckets."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    bounds: tuple[float, ...] = ()


LOGINS, LOGIN_SECONDS, DROPS = "sekisho_logins_total", "sekisho_login_seconds", "sekisho_datagrams_dropped_total"
REQUESTS, BY_SECRET = "sekisho_radius_requests_total", "sekisho_radius_secret_requests_total"
IN_FLIGHT, QUEUE, FAILING = "sekisho_logins_in_flight", "sekisho_login_queue_length", "sekisho_login_queue_failing"
BATCH, BATCH_SECONDS, FLUSH_SECONDS = "sekisho_batch_logins", "sekisho_batch_seconds", "sekisho_flush_seconds"
HASHING = "sekisho_passwords_waiting"
CLOCK, SYNCHRONISED = "sekisho_clock_believed", "sekisho_clock_synchronised"
CHECKPOINTS, CHECKPOINT_FAILURES = "sekisho_checkpoints_total", "sekisho_checkpoint_failures_total"
CHECKPOINT_AGE = "sekisho_checkpoint_age_seconds"
SEALS, SEAL_FAILURES = "sekisho_seals_total", "sekisho_seal_failures_total"
UNSEALED = "sekisho_audit_unsealed_seconds"
BEHIND_ROWS, BEHIND_SECONDS = "sekisho_outwards_rows_behind", "sekisho_outwards_seconds_behind"
OUTWARDS_FAILING, OUTWARDS_GIVEN_UP = "sekisho_outwards_failing_seconds", "sekisho_outwards_given_up_total"
NODE, CLOCK_OFFSET, NODES = "sekisho_node_info", "sekisho_node_clock_offset_seconds", "sekisho_nodes"
UP, RESTARTS, BUILD = "sekisho_processes_up", "sekisho_process_restarts_total", "sekisho_build_info"
READABLE, STORE, LOG = "sekisho_store_readable", "sekisho_store_bytes", "sekisho_store_log_bytes"
CHALLENGES, SESSIONS, LOCKED = "sekisho_challenges_open", "sekisho_sessions_open", "sekisho_customers_locked"
THROTTLED = "sekisho_customers_throttled"
UPSTREAM_LOGINS, UPSTREAM_SECONDS = "sekisho_upstream_logins_total", "sekisho_upstream_seconds"
UPSTREAM_IGNORED, UPSTREAM_DEAD = "sekisho_upstream_ignored_total", "sekisho_upstream_server_dead"
UPSTREAM_IN_FLIGHT, UPSTREAM_UNANSWERED = "sekisho_upstream_in_flight", "sekisho_upstream_unanswered_total"
VIP_CALLS, VIP_SECONDS, VIP_IN_FLIGHT = "sekisho_vip_calls_total", "sekisho_vip_seconds", "sekisho_vip_in_flight"
VIP_SILENT = "sekisho_vip_silent"
CERTIFICATE = "sekisho_certificate_ends_seconds"
WAITING, GIVEN_UP, BACKUP = "sekisho_notices_waiting", "sekisho_notices_failed", "sekisho_backup_age_seconds"

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

FAMILIES = (
    Family(BUILD, _G, ("version", "sqlite"), "Always 1; the version of Sekisho and of SQLite."),
    Family(NODE, _G, ("node",), "Always 1; what this server is called among those of its store."),
    Family(CLOCK_OFFSET, _G, (), "How far this node's clock is ahead of the database's (PostgreSQL)."),
    Family(NODES, _G, ("state",), "Nodes of the store, by state; those that are gone, for a week."),
    Family(UP, _G, ("process",), "Processes of this name that serve and show life."),
    Family(RESTARTS, _C, ("process",), "Processes of this name that took another one's place."),
    Family(LOGINS, _C, ("door", "client", "verdict", "reason"), "Verdicts of all doors."),
    Family(LOGIN_SECONDS, _H, ("door",), "From a request's arrival to its verdict, all waiting included.", SECONDS),
    Family(DROPS, _C, ("cause",), "RADIUS datagrams that were answered with silence."),
    Family(REQUESTS, _C, ("client", "message_authenticator"), "Verified RADIUS requests; yes or no: protected by it."),
    Family(BY_SECRET, _C, ("client", "secret"), "Requests of clients with two secrets, by the one used."),
    Family(IN_FLIGHT, _G, ("door",), "Requests without a verdict."),
    Family(QUEUE, _G, (), "Requests that wait for the next batch."),
    Family(FAILING, _G, (), "Processes whose last batch could not be written."),
    Family(BATCH, _H, (), "Logins in one batch.", SIZES),
    Family(BATCH_SECONDS, _H, (), "Reading, deciding, writing and flushing one batch.", SECONDS),
    Family(FLUSH_SECONDS, _H, (), "Flushing the store's log to the disk, other processes' flushes included.", SECONDS),
    Family(UPSTREAM_LOGINS, _C, ("upstream", "server", "outcome"), "Logins that an upstream's server was asked about."),
    Family(UPSTREAM_SECONDS, _H, ("upstream",), "From the question to an upstream to its valid reply.", SECONDS),
    Family(UPSTREAM_UNANSWERED, _C, ("upstream",), "Questions to an upstream that got no valid reply."),
    Family(UPSTREAM_IGNORED, _C, ("upstream", "server", "reason"), "Datagrams from there that answered no question."),
    Family(UPSTREAM_DEAD, _G, ("upstream", "server"), "Processes for which that server counts as dead."),
    Family(UPSTREAM_IN_FLIGHT, _G, ("upstream",), "Logins that wait for an upstream."),
    Family(VIP_CALLS, _C, ("verifier", "call", "outcome"), "Calls of VIP User Services, by what their status means."),
    Family(VIP_SECONDS, _H, ("verifier",), "From a call of VIP User Services to its reply.", SECONDS),
    Family(VIP_IN_FLIGHT, _G, ("verifier",), "Calls of VIP User Services without a reply yet."),
    Family(VIP_SILENT, _G, ("verifier",), "Processes whose last call of VIP User Services got no reply."),
    Family(HASHING, _G, (), "Passwords that wait for a thread to be hashed."),
    Family(CLOCK, _G, (), "1 while every process believes the clock; otherwise no login is answered."),
    Family(SYNCHRONISED, _G, (), "1 while the kernel says that the clock is synchronised."),
    Family(READABLE, _G, (), "1 if the metrics process could read the store; 0: the figures of the store are missing."),
    Family(STORE, _G, (), "Size of the store's file."),
    Family(LOG, _G, (), "Size of the store's write-ahead log."),
    Family(CHECKPOINTS, _C, (), "Checkpoints that copied the log into the store's file."),
    Family(CHECKPOINT_FAILURES, _C, (), "Checkpoints that failed; the log grows until one succeeds."),
    Family(CHECKPOINT_AGE, _G, (), "Since the last checkpoint that succeeded; +Inf: there was none."),
    Family(SEALS, _C, (), "Seals of the audit trail that were made (with [audit])."),
    Family(SEAL_FAILURES, _C, (), "Tries to seal the audit trail, or to copy a seal, that failed."),
    Family(UNSEALED, _G, (), "Age of the oldest audit row without a seal; 0: there is none."),
    Family(BEHIND_ROWS, _G, ("outlet",), "Audit rows that wait to be sent there, 100,000 at most."),
    Family(BEHIND_SECONDS, _G, ("outlet",), "Age of the oldest of them; 0: there is none."),
    Family(OUTWARDS_FAILING, _G, ("outlet",), "For how long the receiver has taken nothing; 0: it takes what comes."),
    Family(OUTWARDS_GIVEN_UP, _C, ("outlet",), "Events that were given up there; the audit trail has them."),
    Family(CHALLENGES, _G, (), "Challenges that wait for a code."),
    Family(SESSIONS, _G, (), "Customers' web sessions, those that have just expired included."),
    Family(LOCKED, _G, (), "Customers who are locked."),
    Family(THROTTLED, _G, (), "Customers who are not locked and whose last code was wrong."),
    Family(WAITING, _G, (), "Notices to customers that wait to be sent."),
    Family(GIVEN_UP, _G, (), "Notices to customers that were given up."),
    Family(BACKUP, _G, (), "Age of the newest backup; +Inf: none was ever made."),
    Family(CERTIFICATE, _G, ("setting",), "Until it ends; negative after that; -Inf: its file cannot be read."),
)  # fmt: skip
