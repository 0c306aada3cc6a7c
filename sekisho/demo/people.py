"""The demo's sample customers, each in a different state, and the store that is filled with them."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sekisho.demo.addresses import kept
from sekisho.demo.folder import PEOPLE

if TYPE_CHECKING:
    from otp_core.accounts import Desk, Principal


class SampleState(StrEnum):
    """The state in which a sample customer is when the demo begins."""

    ACTIVE = "active"
    NEVER = "never enrolled"
    SUSPENDED = "suspended"
    LOCKED = "locked"
    LOST = "lost"


@dataclass(frozen=True)
class Sample:
    """A sample customer. Without ``token_id``: never enrolled. ``seed`` in base32."""

    contract_id: str
    password: str = field(repr=False)
    name: str
    token_id: str | None = None
    seed: str = field(default="", repr=False)
    language: str = "ja"
    state: SampleState = SampleState.ACTIVE
    reading: str = ""

    def code(self, steps_away: int = 0) -> str:
        """The code that the token shows now, or ``steps_away`` time steps of 30 s from now."""
        import pyotp

        return pyotp.TOTP(self.seed).at(time.time() + 30 * steps_away)


def kept_people(folder: Path) -> list[Sample]:
    """The sample customers of the folder, made at its first demo: passwords and seeds stay the same."""

    def as_text() -> str:
        return json.dumps([vars(one) for one in _new_people()], ensure_ascii=False)

    path = folder / PEOPLE
    try:
        if found := [_sample(**one) for one in json.loads(kept(path, as_text))]:
            return found
        raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise typer.BadParameter(f"{path} is damaged: remove the folder, and the demo makes another") from None


def _sample(state: str = SampleState.ACTIVE, seed: str = "", **texts: str) -> Sample:
    """Raises ValueError and TypeError for what no demo has written."""
    base64.b32decode(seed)
    return Sample(state=SampleState(state), seed=seed, **texts)


def _new_people() -> list[Sample]:
    def seed() -> str:
        return base64.b32encode(secrets.token_bytes(20)).decode()

    return [
        Sample("taro", "haru-no-umi", "信金 太郎", "VSMT00000001", seed(), reading="シンキン タロウ"),
        Sample("hanako", "natsu-no-yama", "信金 花子", "VSMT00000002", seed(), reading="シンキン ハナコ"),
        Sample("john", "autumn-leaves", "John Smith", "VSST00000003", seed(), "en"),
        Sample("jiro", "fuyu-no-sora", "信金 次郎", state=SampleState.NEVER, reading="シンキン ジロウ"),
        Sample(
            "sachiko",
            "asa-no-kaze",
            "信金 幸子",
            "VSMT00000005",
            seed(),
            state=SampleState.SUSPENDED,
            reading="シンキン サチコ",
        ),
        Sample(
            "goro",
            "yoru-no-hoshi",
            "信金 五郎",
            "VSMT00000006",
            seed(),
            state=SampleState.LOCKED,
            reading="シンキン ゴロウ",
        ),
        Sample(
            "yuki", "yuki-no-hana", "信金 雪", "VSMT00000007", seed(), state=SampleState.LOST, reading="シンキン ユキ"
        ),
    ]


def sample_named(folder: Path, contract_id: str) -> Sample:
    """A sample customer of the folder who has a token. Raises typer.BadParameter."""
    if not (folder / PEOPLE).exists():
        raise typer.BadParameter(f"there is no demo in {folder}: run `sekisho demo` first, or give its --folder")
    with_token = {one.contract_id: one for one in kept_people(folder) if one.token_id is not None}
    if contract_id not in with_token:
        raise typer.BadParameter(f"has no token in this demo; those who have: {', '.join(with_token)}")
    return with_token[contract_id]


def fill_store(config: Path, people: list[Sample]) -> None:
    """Make the store and add the customers who are not in it yet, with their tokens and in their states."""
    from otp_core.accounts import Principal, PrincipalKind
    from otp_core.audit import Ids
    from otp_core.first_factor.hashes import hash_password
    from otp_core.first_factor.password_forms import canonical
    from otp_core.model import Language, TokenSpec
    from otp_core.store.store import initialise
    from sekisho.settings import load
    from sekisho.store_watch import put_store_right
    from sekisho.wiring import cost_of, open_desk, open_store

    settings = load(config, environment={}).settings
    put_store_right(settings, trust_clock=False)  # a demo whose store was stopped goes on, as a server does
    initialise(settings.store.address, settings.store.master_key_file, ids=Ids(), say=lambda _: None)
    store = open_store(settings)
    desk, principal = open_desk(settings, store), Principal("demo", PrincipalKind.COMMAND, reason="sample data")
    for one in people:
        with store.work() as work:
            known = work.login_record(one.contract_id) is not None
        if known:
            continue
        hash_ = hash_password(canonical(one.password), cost_of(settings))
        desk.customers.add(
            one.contract_id,
            principal,
            password_hash=hash_,
            name=one.name,
            reading=one.reading or None,
            language=Language(one.language),
        )
        if one.token_id is not None:
            desk.tokens.import_rows([(one.token_id, base64.b32decode(one.seed), TokenSpec())], principal)
            # Enrolled by the previous step's code, so that the current one can still be used for a login.
            desk.enrolment.enrol(one.contract_id, one.token_id, one.code(-1), principal)
        _put_into_state(desk, one, principal)


def _put_into_state(desk: Desk, one: Sample, principal: Principal) -> None:
    match one.state:
        case SampleState.ACTIVE | SampleState.NEVER:
            pass
        case SampleState.SUSPENDED:
            desk.enrolment.suspend(one.contract_id, None, principal)
        case SampleState.LOCKED:
            desk.customers.lock(one.contract_id, principal)
        case SampleState.LOST:
            desk.enrolment.report_lost(one.contract_id, principal)


def permits(config: Path, people: list[Sample]) -> dict[str, str]:
    """A new reissue permit for each customer whose token is lost, by contract ID (a permit is shown only once)."""
    from otp_core.accounts import Principal, PrincipalKind, Refused
    from sekisho.settings import load
    from sekisho.wiring import open_desk, open_store

    settings = load(config, environment={}).settings
    desk = open_desk(settings, open_store(settings))
    principal = Principal("demo", PrincipalKind.COMMAND, reason="sample data")
    made = {}
    for one in people:
        if one.state is SampleState.LOST:
            try:
                made[one.contract_id] = desk.enrolment.permit_reissue(one.contract_id, principal).text
            except Refused:
                continue  # an earlier demo in this folder enrolled a new token for them
    return made


def wait_for_fresh_codes(config: Path, people: list[Sample]) -> None:
    """Wait until every token shows a code that was not used yet: a demo within 30 s of another would show used ones."""
    from sekisho.settings import load
    from sekisho.wiring import open_store

    with open_store(load(config, environment={}).settings).work() as work:
        records = [work.login_record(one.contract_id) for one in people]
    used = max(token.last_step for record in records if record is not None for token in record.tokens)
    seconds = (used + 1) * 30 - time.time()
    if seconds > 0:
        typer.echo(f"waiting {seconds:.0f} s for the next code: the last demo used this one")
        time.sleep(seconds)
