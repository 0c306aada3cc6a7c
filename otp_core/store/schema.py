"""The tables. The rows that a login touches are few and narrow: customer, binding, token, challenge; what it never
reads stands apart (profile). Keys are time-ordered numbers that many nodes can make (audit.Ids); times are UTC
milliseconds.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0023"
"""The newest migration that this version knows."""

NEEDED = "0023"
"""The newest one that expands, without which this version does not work: `sekisho init` brings a store to it. Which
stores may be used: revisions.py."""

KEY_CHECK = "key check"
"""Key in ``meta``: what the master key is recognised by."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite knows INTEGER PRIMARY KEY only by that very name, and its integers have 64 bits anyway.
_BIG = BigInteger().with_variant(Integer(), "sqlite")

_BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
"""Sorted by code points on every engine, so that a beginning is a range."""

token = Table(
    "token",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("token_id", _BYTEWISE, nullable=False, unique=True),
    Column("seed", LargeBinary, comment="sealed: see sealing.py; NULL: verified elsewhere"),
    Column("verifier", Text, nullable=False, server_default=text("'local'"), comment="who knows its codes"),
    Column("kind", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("digits", SmallInteger, nullable=False),
    Column("period", SmallInteger, nullable=False, comment="seconds"),
    Column("state", Text, nullable=False),
    Column("last_step", _BIG, nullable=False, server_default=text("-1")),
    # Of a counter token: 1 while it must be resynchronised (otp.RESYNC_NEEDED), otherwise 0.
    Column("drift", Integer, nullable=False, server_default=text("0")),
    Column("last_fingerprint", _BIG, nullable=False, server_default=text("0")),
    Column("last_at", _BIG, nullable=False, server_default=text("0")),
    Column("spent_ahead", Text, comment="spans of steps that were accepted while the clock stood in the future"),
    CheckConstraint("state IN ('available', 'bound', 'retired', 'lost')", name="state"),
    CheckConstraint("seed IS NOT NULL OR verifier != 'local'", name="local_has_seed"),
)

DRIFTS = text("drift NOT BETWEEN -2 AND 2")
"""The tokens whose clock is three steps off or more. SQLite uses the index below for a query that repeats this very
text; a login writes into it only where a token comes to drift so far, or no longer does."""

Index("ix_token_drift", token.c.token_id, sqlite_where=DRIFTS, postgresql_where=DRIFTS)

customer = Table(
    "customer",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("contract_id", _BYTEWISE, nullable=False, unique=True),
    Column("otp_use", Text, nullable=False),
    Column("locked_at", _BIG),
    Column("failures", SmallInteger, nullable=False, server_default=text("0")),
    Column("failed_at", _BIG, nullable=False, server_default=text("0")),
    Column("failed_fingerprint", _BIG, nullable=False, server_default=text("0")),
    Column("language", Text),
    Column("attributes", Text, comment="reply attributes, JSON"),
    CheckConstraint("otp_use IN ('none', 'active', 'suspended', 'lost', 'reissue permitted')", name="otp_use"),
)

binding = Table(
    "binding",
    metadata,
    Column("customer_key", _BIG, ForeignKey("customer.key"), primary_key=True, autoincrement=False),
    Column("token_key", _BIG, ForeignKey("token.key"), primary_key=True, autoincrement=False),
    Column("name", Text, comment="what the customer calls the token; NULL: nothing"),
    Column("bound_at", _BIG, nullable=False, server_default=text("0"), comment="0: before 0.3.0, which noted it first"),
    sqlite_with_rowid=False,
)
# Who holds a token: asked by staff, at binding and by the foreign key.
Index("ix_binding_token_key", binding.c.token_key)
# Who is locked: asked by the console. Only a lock and its end write to it.
_LOCKED = customer.c.locked_at.is_not(None)
Index("ix_customer_locked_at", customer.c.locked_at, sqlite_where=_LOCKED, postgresql_where=_LOCKED)
# The list of customers by state, and of tokens by theirs, in the order of their IDs. No login writes to them.
Index("ix_customer_otp_use_contract_id", customer.c.otp_use, customer.c.contract_id)
Index("ix_token_state_token_id", token.c.state, token.c.token_id)
# The list of who is locked, in the same order.
Index("ix_customer_contract_id_locked", customer.c.contract_id, sqlite_where=_LOCKED, postgresql_where=_LOCKED)

profile = Table(
    "profile",
    metadata,
    Column("customer_key", _BIG, ForeignKey("customer.key"), primary_key=True, autoincrement=False),
    Column("password_hash", Text, comment="NULL: no password is checked here"),
    Column("name", Text),
    Column("email", Text),
    Column("reading", Text, comment="of the name, in kana"),
)

search_term = Table(
    "search_term",
    metadata,
    Column("term", _BYTEWISE, primary_key=True, comment="folded: see folding.py"),
    Column("customer_key", _BIG, ForeignKey("customer.key"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
# What customers are found by, beside contract ID and token ID as they are stored, which have indexes of their own.

unclaimed_token = Table(
    "unclaimed_token",
    metadata,
    Column("token_key", _BIG, ForeignKey("token.key"), primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False, comment="the source address, or the network that counts as one"),
)
# Tokens issued by self-service and not enrolled yet. Their key tells when they were issued.
Index("ix_unclaimed_token_origin_token_key", unclaimed_token.c.origin, unclaimed_token.c.token_key)

issuance_key = Table(
    "issuance_key",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="keyed digest of what an app sent with its request"),
    Column("token_key", _BIG, ForeignKey("token.key"), nullable=False, index=True),
    Column("repeats", SmallInteger, nullable=False, server_default=text("0"), comment="how often it was sent again"),
)
# Requests for a token by self-service: the same key gets the same token again. Deleted after a day.

permit = Table(
    "permit",
    metadata,
    Column("customer_key", _BIG, ForeignKey("customer.key"), primary_key=True, autoincrement=False),
    Column("digest", _BIG, nullable=False, comment="keyed digest of the permit"),
    Column("expires_at", _BIG, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="keyed digest of the id in the cookie"),
    Column("customer_key", _BIG, ForeignKey("customer.key"), comment="NULL: nobody has signed in yet"),
    Column("source", Text, nullable=False),
    Column("seen_at", _BIG, nullable=False),
    Column("expires_at", _BIG, nullable=False),
    Column("data", LargeBinary, nullable=False, comment="sealed: what the pages remember"),
    Column("proof_token_key", _BIG, comment="the token whose code was spent here to let a new one in"),
    Column("proof_until", _BIG),
)
Index("ix_session_customer_key", session.c.customer_key)
Index("ix_session_expires_at", session.c.expires_at)

reservation = Table(
    "reservation",
    metadata,
    Column("token_key", _BIG, ForeignKey("token.key"), primary_key=True, autoincrement=False),
    Column("customer_key", _BIG, ForeignKey("customer.key"), nullable=False),
    Column("session_key", _BIG, nullable=False),
    Column("expires_at", _BIG, nullable=False, index=True),
)
# A token that was issued to a customer on the pages, and that they have not confirmed yet.
Index("ix_reservation_session_key", reservation.c.session_key)

acceptance = Table(
    "acceptance",
    metadata,
    Column("customer_key", _BIG, ForeignKey("customer.key"), primary_key=True, autoincrement=False),
    Column("version", Text, primary_key=True, comment="of the terms of use"),
    Column("accepted_at", _BIG, nullable=False),
)

challenge = Table(
    "challenge",
    metadata,
    Column("state", LargeBinary, primary_key=True),
    Column("customer_key", _BIG, nullable=False, index=True),
    Column("client", Text, nullable=False),
    Column("expires_at", _BIG, nullable=False, index=True),
    Column("tries_left", SmallInteger, nullable=False),
    Column("password_fingerprint", _BIG),
    Column("first_factor_state", LargeBinary, comment="of a round of the first factor; NULL: asks for the code"),
    Column("attributes", Text, comment="reply attributes that the first factor brought, JSON"),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("event", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("customer", Text),
    Column("token", Text),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("node", Text, comment="which node wrote it; NULL: an earlier version"),
    postgresql_partition_by="RANGE (id)",
)

NOT_A_LOGIN = text("substr(event, 1, 6) NOT IN ('login.', 'looked')")
"""The audit rows of acts: no logins, and no looks. SQLite uses the index below for a query that repeats this very
text."""

# What was done to a customer, however long ago. The login batch writes nothing into it.
Index("ix_audit_customer", audit.c.customer, sqlite_where=NOT_A_LOGIN, postgresql_where=NOT_A_LOGIN)

seal = Table(
    "seal",
    metadata,
    Column("number", _BIG, primary_key=True, autoincrement=False),
    Column("until_id", _BIG, nullable=False, index=True, comment="the last audit row that it covers"),
    Column("body", Text, nullable=False, comment="what was signed, JSON"),
    Column("signature", LargeBinary, nullable=False, comment="Ed25519"),
    Column("marks", LargeBinary, nullable=False, comment="id and 64 bits of the digest of each row"),
)
# What proves that nobody has changed the audit trail since: see seals/.

audit_export = Table(
    "audit_export",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False, comment="the audit row that tells of it"),
    Column("first_seal", _BIG, nullable=False),
    Column("last_seal", _BIG, nullable=False),
    Column("until_id", _BIG, nullable=False, comment="the last audit row in the file"),
    Column("rows", _BIG, nullable=False),
    Column("digest", Text, nullable=False, comment="SHA-256 of the file, hexadecimal"),
    Column("file", Text, nullable=False, comment="its name when it was written"),
    Column("actor", Text, nullable=False),
)
audit_drop = Table(
    "audit_drop",
    metadata,
    Column("seal", _BIG, primary_key=True, autoincrement=False, comment="the seal that proves it"),
    Column("last_seal", _BIG, nullable=False, comment="the newest one that was taken away"),
    Column("until_id", _BIG, nullable=False, comment="the newest audit row that was"),
    Column("rows", _BIG, nullable=False),
    Column("export", Text, nullable=False, comment="SHA-256 of the file that has them, hexadecimal"),
    Column("actor", Text, nullable=False),
    Column("begun_at", _BIG, nullable=False),
    Column("ended_at", _BIG, nullable=False, server_default=text("0"), comment="0: rows of it are there yet"),
)
# What was exported of the trail, and what was taken out of the store then.

audit_stretch = Table(
    "audit_stretch",
    metadata,
    Column("first", _BIG, primary_key=True, autoincrement=False, comment="the id of its first audit row"),
    Column("last", _BIG, nullable=False, index=True, comment="and of its last one"),
)
audit_subject = Table(
    "audit_subject",
    metadata,
    Column("stretch", _BIG, primary_key=True, autoincrement=False),
    Column("subject", Text, primary_key=True, comment="c and the customer, or t and the token"),
    Column("id", _BIG, primary_key=True, autoincrement=False, comment="of the audit row"),
    sqlite_with_rowid=False,
)
audit_name = Table(
    "audit_name",
    metadata,
    Column("name", _BYTEWISE, primary_key=True, comment="e and the event, or a and the actor"),
    Column("stretch", _BIG, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False, comment="of the rows that have it"),
    sqlite_with_rowid=False,
)
# Which rows of closed stretches of the trail are about whom (audit_lookup.py). No login writes to them.

outbox = Table(
    "outbox",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False, comment="the audit row that the notice tells of"),
    Column("customer_key", _BIG, ForeignKey("customer.key"), nullable=False),
    Column("event", Text, nullable=False),
    Column("token_id", Text),
    Column("email", Text, nullable=False),
    Column("language", Text),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", _BIG, nullable=False, server_default=text("0")),
    Column("claimed_until", _BIG, nullable=False, server_default=text("0"), comment="until then one sender has it"),
    Column("error", Text, comment="why it was not delivered the last time"),
    CheckConstraint("state IN ('pending', 'failed')", name="state"),
)
Index("ix_outbox_state", outbox.c.state, outbox.c.next_at)

staff = Table(
    "staff",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("disabled_at", _BIG),
    Column(
        "customer_key",
        _BIG,
        ForeignKey("customer.key"),
        unique=True,
        comment="the account whose password and code sign them in; NULL: passkeys alone",
    ),
    Column("link_digest", LargeBinary, unique=True, comment="keyed digest of the one-time link; NULL: none is open"),
    Column("link_until", _BIG, nullable=False, server_default=text("0")),
    CheckConstraint("role IN ('auditor', 'operator', 'supervisor', 'administrator')", name="role"),
)

passkey = Table(
    "passkey",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("staff_key", _BIG, ForeignKey("staff.key"), nullable=False, index=True),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False, comment="COSE"),
    Column("sign_count", _BIG, nullable=False),
    Column("used_at", _BIG, nullable=False, server_default=text("0")),
    Column("challenged_at", _BIG, nullable=False, comment="when the last challenge it has answered was made"),
)

sign_on = Table(
    "sign_on",
    metadata,
    Column("staff_key", _BIG, ForeignKey("staff.key"), primary_key=True, autoincrement=False),
    Column("issuer", Text, nullable=False, comment="of the OpenID provider"),
    Column("subject", Text, nullable=False, comment="the provider's name for them, which it never gives to another"),
    Column("called", Text, nullable=False, comment="what the provider called them when it was linked"),
    Column("linked_at", _BIG, nullable=False),
    Column("used_at", _BIG, nullable=False, server_default=text("0")),
    Column("asked_at", _BIG, nullable=False, comment="when the last request that the provider answered was made"),
    UniqueConstraint("issuer", "subject"),
)

staff_session = Table(
    "staff_session",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="keyed digest of the id in the cookie"),
    Column("staff_key", _BIG, ForeignKey("staff.key"), nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("seen_at", _BIG, nullable=False),
    Column("expires_at", _BIG, nullable=False),
    Column("confirmed_at", _BIG, nullable=False, comment="when passkey or code was given last"),
    Column("data", LargeBinary, nullable=False, comment="sealed: what the pages remember"),
    Column("most_role", Text, comment="the role that the OpenID provider gives them; NULL: it was not asked"),
)

approval = Table(
    "approval",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("act", Text, nullable=False),
    Column("customer_key", _BIG, ForeignKey("customer.key"), comment="NULL: it is about no customer"),
    Column(
        "subject",
        Text,
        nullable=False,
        server_default=text("''"),
        comment="the name of staff, API key or file; empty: the customer, or nothing that has a name",
    ),
    Column("asked_by", _BIG, ForeignKey("staff.key"), comment="NULL: a program"),
    Column("asked_by_program", Text, comment="the actor of its audit rows; NULL: a member of staff"),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, comment="sealed: what exactly is to be done, JSON"),
    Column("seen", Text, nullable=False, comment="what has to be as it was when it was asked, JSON"),
    Column("state", Text, nullable=False, server_default=text("'asked'")),
    Column("decided_by", _BIG, ForeignKey("staff.key")),
    Column("expires_at", _BIG, nullable=False),
    Column("outcome", _BIG, comment="the audit row of what was done; NULL: nothing yet"),
    CheckConstraint("state IN ('asked', 'approved', 'refused', 'withdrawn', 'done')", name="state"),
    CheckConstraint("(asked_by IS NULL) != (asked_by_program IS NULL)", name="asked_by_one"),
    CheckConstraint("customer_key IS NULL OR subject = ''", name="subject_one"),
)
# Those that somebody waits for.
Index("ix_approval_state", approval.c.state, approval.c.key)

file_import = Table(
    "file_import",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("choices", Text, nullable=False, comment="how it is read, JSON"),
    Column("size", _BIG, nullable=False, comment="octets"),
    Column("digest", LargeBinary, nullable=False, comment="keyed digest of the file and how it is read"),
    Column("state", Text, nullable=False),
    Column("asked_by", _BIG, ForeignKey("staff.key"), nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approved_by", Text, comment="NULL: nobody has to"),
    Column("approval_key", _BIG, comment="the request for a second person"),
    Column("found", Text, nullable=False, server_default=text("'{}'"), comment="by the check, JSON"),
    Column("done", _BIG, nullable=False, server_default=text("0"), comment="octets checked, or rows written"),
    Column("written", _BIG, nullable=False, server_default=text("0"), comment="rows that were new"),
    Column("claim", _BIG, nullable=False, server_default=text("0"), comment="whoever works on it"),
    Column("claimed_until", _BIG, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="without any progress"),
    Column("why", Text, comment="it was not finished"),
    Column("changed_at", _BIG, nullable=False),
    CheckConstraint("kind IN ('customers', 'tokens')", name="kind"),
    CheckConstraint(
        "state IN ('receiving', 'checking', 'wrong', 'checked', 'writing', 'done', 'stopped', 'withdrawn')",
        name="state",
    ),
)
# Files that staff imports on the console (file_imports.py). Those that are worked on, and those that wait.
Index("ix_file_import_state", file_import.c.state, file_import.c.key)

file_piece = Table(
    "file_piece",
    metadata,
    Column("file_key", _BIG, ForeignKey("file_import.key"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False, comment="sealed"),
)
# The file itself, until it is decided and written.

api_key = Table(
    "api_key",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="keyed digest of what the program sends"),
    Column("scopes", Text, nullable=False, comment="what it is for, separated by spaces"),
    Column("networks", Text, nullable=False, comment="where it may come from, separated by spaces; empty: anywhere"),
    Column("made_by", _BIG, ForeignKey("staff.key"), comment="the member of staff who was shown it; NULL: a command"),
)

kept_answer = Table(
    "kept_answer",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="keyed digest of API key, path and Idempotency-Key"),
    Column("request", LargeBinary, nullable=False, comment="keyed digest of what was asked"),
    Column("answer", LargeBinary, nullable=False, comment="sealed: it may hold a permit"),
    Column("expires_at", _BIG, nullable=False, index=True),
)
# Answers of the API that are given again to the same request. Deleted after a day.

login_remark = Table(
    "login_remark",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False, comment="of the audit row"),
    Column("remark", Text, nullable=False),
)
# How wrong codes missed.

verified_code = Table(
    "verified_code",
    metadata,
    Column("fingerprint", _BIG, primary_key=True, autoincrement=False, comment="of verifier, token and code, keyed"),
    Column("expires_at", _BIG, nullable=False, index=True),
)
# Codes that a verifier elsewhere has found right: each is accepted once.

verifier_task = Table(
    "verifier_task",
    metadata,
    Column("key", _BIG, primary_key=True, autoincrement=False),
    Column("verifier", Text, nullable=False, comment="its name in the settings"),
    Column("act", Text, nullable=False),
    Column("contract_id", Text, nullable=False),
    Column("token_id", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", _BIG, nullable=False, server_default=text("0"), index=True),
    Column("error", Text, comment="why the last attempt failed"),
    CheckConstraint("act IN ('add', 'remove')", name="act"),
)
# What a verifier elsewhere has to be told. Deleted when it has been.

client_use = Table(
    "client_use",
    metadata,
    Column("client", Text, primary_key=True, comment="its name in the settings"),
    Column("since", _BIG, nullable=False),
    Column("last_at", _BIG, nullable=False, server_default=text("0")),
    Column("unprotected_at", _BIG, nullable=False, server_default=text("0"), comment="without Message-Authenticator"),
    Column("present_at", _BIG, nullable=False, server_default=text("0"), comment="with its present secret"),
    Column("next_at", _BIG, nullable=False, server_default=text("0"), comment="with the one that is to follow"),
)

client_period = Table(
    "client_period",
    metadata,
    Column("begins_at", _BIG, primary_key=True, autoincrement=False),
    Column("client", Text, primary_key=True),
    Column("requests", Integer, nullable=False),
    Column("unprotected", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("challenged", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("silent", Integer, nullable=False),
)
# Five minutes of one client.

shadow_login = Table(
    "shadow_login",
    metadata,
    Column("client", Text, primary_key=True, comment="its name in the settings"),
    Column("customer", Text, primary_key=True, comment="the contract ID, or the name that only the old server knows"),
    Column("since", _BIG, nullable=False),
    Column("last_at", _BIG, nullable=False),
    Column("logins", Integer, nullable=False, comment="accepted by the old server"),
    Column("agreed", Integer, nullable=False),
    Column("in_a_row", Integer, nullable=False, comment="agreed since the last difference"),
    Column("refused", Integer, nullable=False, comment="by the old server"),
    Column("let_in", Integer, nullable=False, comment="refused there, let in here"),
    Column("first", Text, comment="what stands in the way of the first round, or of the whole login"),
    Column("second", Text, comment="of the answer to the question for a code"),
    Column("differed_at", _BIG, nullable=False),
    sqlite_with_rowid=False,
)
client_stranger = Table(
    "client_stranger",
    metadata,
    Column("source", Text, primary_key=True),
    Column("cause", Text, primary_key=True),
    Column("number", _BIG, nullable=False),
    Column("first_at", _BIG, nullable=False),
    Column("last_at", _BIG, nullable=False),
)
# Datagrams that were answered with silence, because no client can have sent them. At most 200 rows.

node = Table(
    "node",
    metadata,
    Column("name", Text, primary_key=True),
    Column("configured", Text, nullable=False, comment="what its settings call it: the name without a suffix"),
    Column("holder", Text, nullable=False, comment="the process that has the name: nodes/holder.py"),
    Column("run", _BIG, nullable=False, comment="random: another one after each start"),
    Column("version", Text, nullable=False),
    Column("oldest", Text, nullable=False, comment="schema that its code works with"),
    Column("newest", Text, nullable=False, comment="schema that its code works with"),
    Column("started_at", _BIG, nullable=False, comment="by the store's clock, as seen_at and left_at"),
    Column("seen_at", _BIG, nullable=False),
    Column("left_at", _BIG, comment="NULL: it was not stopped in order"),
    Column("beat", SmallInteger, nullable=False, comment="seconds between two signs of life"),
    Column("logins", _BIG, nullable=False, server_default=text("0"), comment="accepted since it was started"),
    Column("clock_offset", _BIG, comment="ms that its clock is ahead of the store's; NULL: it is the same clock"),
    Column("silent", Text, comment="why it answers no login because of its clock; NULL: it does"),
)

node_clock = Table(
    "node_clock",
    metadata,
    Column("machine", Text, primary_key=True, comment="a digest of the machine's ID"),
    Column("configured", Text, primary_key=True, comment="the node's name in its settings"),
    Column(
        "latest", _BIG, nullable=False, comment="the latest time that its clock showed and that was believed, in ms"
    ),
    Column("anchor", Text, comment="clock.Anchor"),
    Column("seen_at", _BIG, nullable=False, comment="by the store's clock"),
)
# Where several machines share a store: what is known of the time of each.

id_tag = Table(
    "id_tag",
    metadata,
    Column("tag", SmallInteger, primary_key=True, autoincrement=False),
    Column("run", _BIG, nullable=False, comment="the node that has it"),
)
# Tags of audit ids (audit.Ids) that are lent to the processes of nodes.

OF_NODES = (node, node_clock, id_tag)
"""What is about those who serve the store now, and not about the store."""

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
