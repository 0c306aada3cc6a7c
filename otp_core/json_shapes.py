"""The JSON objects in which customers, tokens, sessions, audit rows, notices and receipts are shown to programs.

One shape for each, for the command line, and for console and API to come. Keys and their order are an interface: they
never change, only new ones are added. Times are ISO 8601 texts, None for never. Pure; reads no store. The only secrets
are those that are shown once, at the moment they are made (``permit``, ``issued_token``, ``staff_link``,
``api_key_created``).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from otp_core.audit import Event, ms_of
from otp_core.forecast.outcome import NOTE_TEXT
from otp_core.login.next_step import NEXT_STEP_TEXT
from otp_core.login.obstacles import OBSTACLE_TEXT
from otp_core.model import Accept, Challenge, Kind, Reject, Silence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otp_core.accounts import IssuedToken, NewApiKey, Receipt, ReissuePermit, StaffLink
    from otp_core.authentication.explanation import Explanation
    from otp_core.forecast.outcome import Affected, Forecast
    from otp_core.store.api_keys import ApiKeyRecord
    from otp_core.store.approvals import Approval
    from otp_core.store.bindings import HeldToken
    from otp_core.store.nodes import NodeLine
    from otp_core.store.outbox import Waiting
    from otp_core.store.queries import AuditLine, CustomerLine, TokenLine
    from otp_core.store.sessions import SessionLine
    from otp_core.store.shadow_logins import Report, Seen
    from otp_core.store.staff import StaffRecord

Shape = dict[str, object]
"""One JSON object."""


MOST_NAMED = 1000
"""Customers of one change."""

ANSWERS: dict[type, str] = {
    Accept: "Access-Accept",
    Challenge: "Access-Challenge",
    Reject: "Access-Reject",
    Silence: "silence",
}
"""What a gateway hears of each verdict."""


def local_time(at_ms: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in this machine's time zone; None for None and 0 (never)."""
    if not at_ms:
        return None
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(timespec="milliseconds")


def forecast(found: Forecast) -> Shape:
    """A forecast: of each change the logins and customers that it concerns, those with most logins first, at most
    1,000 of them (``more``: there are others)."""
    return {
        "from": local_time(found.since),
        "to": local_time(found.until),
        "complete": found.complete,
        "rows": found.rows,
        "logins": found.logins,
        "let_in": found.let_in,
        "changes": {str(change): _affected(affected) for change, affected in found.changes.items()},
        "notes": [{"note": str(note), "text": NOTE_TEXT[note]} for note in found.notes],
    }


def _affected(affected: Affected) -> Shape:
    named = affected.named(MOST_NAMED)
    return {
        "logins": affected.logins,
        "customers": [{"contract_id": one.customer, "number": one.number, "last": one.last} for one in named],
        "more": affected.more or affected.customers > len(named),
    }


def customer(line: CustomerLine) -> Shape:
    """One customer. ``attributes``: the reply attributes as an object, or None."""
    return {
        "contract_id": line.contract_id,
        "otp_use": line.otp_use,
        "tokens": [held_token(one) for one in line.tokens],
        "locked_since": local_time(line.locked_at),
        "failures": line.failures,
        "name": line.name,
        "reading": line.reading,
        "email": line.email,
        "language": line.language,
        "attributes": json.loads(line.attributes) if line.attributes else None,
        "password_held": line.password_held,
    }


def held_token(held: HeldToken) -> Shape:
    """One token of a customer. ``name``: what they call it; ``bound_since`` None: not known."""
    return {
        "token_id": held.token_id,
        "state": held.state,
        "name": held.name,
        "bound_since": local_time(held.bound_at),
        "last_code": local_time(held.last_at),
    }


def token(line: TokenLine) -> Shape:
    """One token. ``verifier``: who knows its codes; ``step``: seconds of a time step, None for a counter token."""
    return {
        "token_id": line.token_id,
        "state": line.state,
        "contract_id": line.contract_id,
        "verifier": line.verifier,
        "kind": line.kind,
        "algorithm": line.algorithm,
        "digits": line.digits,
        "step": line.period if line.kind == Kind.TOTP else None,
        "drift": line.drift,
        "last_code": local_time(line.last_at),
    }


def session(line: SessionLine) -> Shape:
    """One session of the customers' pages. ``number`` is its key in the store; its id is never shown."""
    return {
        "number": line.key,
        "contract_id": line.contract_id,
        "source": line.source,
        "began": local_time(line.created_at),
        "last_seen": local_time(line.seen_at),
        "ends": local_time(line.expires_at),
    }


def node(line: NodeLine, state: str, now: int) -> Shape:
    """One node. ``now``: by the store's clock. Without ``clock_offset_seconds`` its clock is the store's."""
    return {
        "name": line.name,
        "configured": line.configured,
        "state": state,
        "version": line.version,
        "oldest_schema": line.oldest,
        "newest_schema": line.newest,
        "started": local_time(line.started_at),
        "last_seen": local_time(line.seen_at),
        "seen_seconds_ago": max(0, round((now - line.seen_at) / 1000)),
        "logins": line.logins,
        "clock_offset_seconds": None if line.clock_offset is None else line.clock_offset / 1000,
        "silent": line.silent,
    }


def audit_row(line: AuditLine) -> Shape:
    """One row of the audit trail."""
    return {
        "id": line.id,
        "time": local_time(ms_of(line.id)),
        "event": line.event,
        "actor": line.actor,
        "customer": line.customer,
        "token": line.token,
        "source": line.source,
        "reason": line.reason,
        "node": line.node,
    }


def notice(line: Waiting) -> Shape:
    """One notice that waits or has failed. ``key`` is the number of the audit row that it tells of."""
    return {
        "key": line.key,
        "contract_id": line.contract_id,
        "event": line.event,
        "token_id": line.token_id,
        "email": line.email,
        "language": line.language,
        "state": line.state,
        "attempts": line.attempts,
        "next_at": local_time(line.next_at),
        "error": line.error,
        "at": local_time(ms_of(line.key)),
    }


def receipt(done: str, act: Receipt) -> Shape:
    """What an act did. ``done``: its audit event; ``reference``: the number of its audit row."""
    return {"done": str(done), "customer": act.customer, "token": act.token, "reference": act.reference}


def customer_added(act: Receipt) -> Shape:
    """The receipt of a customer who was added, who has no token yet."""
    return {"done": str(Event.CUSTOMER_ADDED), "customer": act.customer, "reference": act.reference}


def shadow_report(client: str, found: Report) -> Shape:
    """How the customers of a client in shadow mode stand; ``obstacles``: the most frequent first."""
    return {
        "client": client,
        "since": local_time(found.since),
        "customers": found.total,
        "safe": found.safe,
        "obstacles": [
            {
                "obstacle": str(one),
                "words": OBSTACLE_TEXT[one].what,
                "advice": OBSTACLE_TEXT[one].advice,
                "customers": number,
            }
            for one, number in found.obstacles
        ],
    }


def shadow_customer(seen: Seen) -> Shape:
    """One customer of a client in shadow mode."""
    one = seen.standing
    words, advice = (None, None) if one is None else OBSTACLE_TEXT[one]
    return {
        "contract_id": seen.customer,
        "safe": one is None,
        "obstacle": None if one is None else str(one),
        "words": words,
        "advice": advice,
        "logins": seen.logins,
        "agreed": seen.agreed,
        "in_a_row": seen.in_a_row,
        "refused": seen.refused,
        "let_in": seen.let_in,
        "since": local_time(seen.since),
        "last_at": local_time(seen.last_at),
        "differed_at": local_time(seen.differed_at),
    }


def login_explained(found: Explanation, commands: Sequence[str]) -> Shape:
    """What a login would be answered. ``answer``: None if it depends on a code that was not given; ``finding``: None
    for silence, and for what is refused without an attempt. ``commands``: of staff, for what to do next."""
    record, last = found.record, found.last
    return {
        "customer": found.asked.customer,
        "known": record is not None,
        "client": found.asked.client,
        "mode": str(found.asked.policy.mode),
        "answer": None if found.code_missing else ANSWERS[type(last.verdict)],
        "finding": None if last.finding is None else str(last.finding),
        "why": last.why,
        "rounds": [
            {"sent": one.sent, "answer": ANSWERS[type(one.verdict)], "why": one.why}
            for one in found.rounds
            if not found.code_missing
        ],
        "otp_use": None if record is None else record.otp_use,
        "locked_since": None if record is None else local_time(record.locked_at),
        "failures": None if record is None else record.failures,
        "wait_seconds": round(found.wait_seconds, 1),
        "wrong_passwords": found.wrong_passwords,
        "tokens": [
            {
                "token_id": one.token_id,
                "code": None if one.fit is None else str(one.fit),
                "away": one.away,
                "words": one.words,
                "last_code": local_time(one.last_at),
            }
            for one in found.tokens
        ],
        "would": list(found.effects),
        "next": [{"step": str(step), "text": NEXT_STEP_TEXT[step]} for step in found.next_steps],
        "commands": list(commands),
        "notes": list(found.notes),
    }


def permit(contract_id: str, made: ReissuePermit) -> Shape:
    """A reissue permit, in clear for the one time that it is shown."""
    return {
        "done": str(Event.REISSUE_PERMITTED),
        "customer": contract_id,
        "permit": made.text,
        "expires": local_time(made.expires_at),
    }


def issued_token(made: IssuedToken) -> Shape:
    """A new token with its seed, in clear for the one time that it is shown. ``uri``: otpauth://."""
    return {"token_id": made.token_id, "secret": made.secret, "uri": made.uri}


def sessions_ended(contract_id: str, number: int) -> Shape:
    """How many sessions of a customer were ended."""
    return {"done": str(Event.SESSION_ENDED), "customer": contract_id, "sessions": number}


def approval(line: Approval, now: int) -> Shape:
    """One request that a second person decides, as it is at ``now`` (ms since the epoch)."""
    is_over = line.state in ("asked", "approved") and line.expires_at <= now
    return {
        "number": line.key,
        "act": line.act,
        "customer": line.customer,
        "state": "expired" if is_over else str(line.state),
        "reason": line.reason,
        "asked": local_time(line.asked_at),
        "asked_by": line.asked_by,
        "decided_by": line.decided_by,
        "expires": local_time(line.expires_at),
    }


def staff(record: StaffRecord, passkeys: int, last_seen: int, single_sign_on: str | None) -> Shape:
    """One member of staff. ``passkeys``: how many they have; ``last_seen``: in a session that goes on, ms since the
    epoch, 0 for none; ``single_sign_on``: their identity at an OpenID provider."""
    return {
        "name": record.name,
        "role": record.role,
        "disabled_since": local_time(record.disabled_at),
        "account": record.account,
        "passkeys": passkeys,
        "single_sign_on": single_sign_on,
        "last_seen": local_time(last_seen),
        "link_until": local_time(record.link_until) if record.has_link else None,
    }


def staff_link(event: Event, made: StaffLink, address: str) -> Shape:
    """A one-time link for a member of staff, in clear for the one time that it is shown."""
    return {"done": str(event), "name": made.name, "link": address, "expires": local_time(made.expires_at)}


def api_key(record: ApiKeyRecord) -> Shape:
    """One API key. ``networks``: where it may come from; empty: anywhere."""
    return {
        "name": record.name,
        "scopes": sorted(record.scopes),
        "networks": list(record.networks),
        "created": local_time(record.created_at),
    }


def api_key_created(made: NewApiKey) -> Shape:
    """A new API key, in clear for the one time that it is shown."""
    done = {"done": str(Event.API_KEY_CREATED), **api_key(made.record)}
    return {**done, "key": made.secret, "reference": made.reference}


def api_key_revoked(name: str, act: Receipt) -> Shape:
    """An API key was revoked."""
    return {"done": str(Event.API_KEY_REVOKED), "name": name, "reference": act.reference}


def staff_role_changed(name: str, role: str, act: Receipt) -> Shape:
    """A member of staff has another role."""
    return {"done": str(Event.STAFF_ROLE_CHANGED), "name": name, "role": role, "reference": act.reference}


def staff_disabled(name: str, act: Receipt) -> Shape:
    """A member of staff was disabled."""
    return {"done": str(Event.STAFF_DISABLED), "name": name, "reference": act.reference}


def staff_unlinked(name: str, act: Receipt) -> Shape:
    """The single sign-on of a member of staff was unlinked."""
    return {"done": str(Event.STAFF_SIGN_ON_UNLINKED), "name": name, "reference": act.reference}
