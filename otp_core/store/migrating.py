"""Brings a store to a newer schema, on either engine: in one transaction, which the engine has opened, with its lock.

Theory of operation
-------------------
*Two kinds of migrations.* One that expands adds what older versions do not miss, and they go on beside the newer ones.
One that contracts takes away what only they still use. Each file says which it is (``phase``); those up to BASELINE,
from before there was a choice, count as contracting.

*Two calls.* `sekisho init` goes as far as the last migration that expands. It carries out one that contracts only where
that stands in the way, or where the store is older than BASELINE, and nobody can go on with it anyway.
`sekisho init --contract` carries out all of them. Neither contracts while a version is at work that does not know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, update

from otp_core.model import StoreProblem
from otp_core.store.revisions import OLDEST_TABLE, REACHED_TABLE, Revisions, is_known, read_revisions, refuse_unfit

BASELINE = "0022"
"""The last migration from before there were two kinds."""

VERSION_TABLE = "version_table"
"""For migrations/env.py: where alembic notes how far it has come."""


_OLDEST = Table(
    OLDEST_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{OLDEST_TABLE}_pkc"),
)
"""As alembic would make it."""


class Phase(StrEnum):
    """What a migration does to older versions: nothing, or it ends their use of the store."""

    EXPAND = "expand"
    CONTRACT = "contract"


class Step(NamedTuple):
    """One migration."""

    revision: str
    phase: Phase


class Migrated(NamedTuple):
    """What was done. ``before``: the last migration that the store had, None for a new store. ``waiting``: the newest
    contracting migration that waits for `sekisho init --contract`; None: none does."""

    before: str | None
    now: Revisions
    waiting: str | None


OlderUsers = Callable[[str], Sequence[str]]
"""Whoever uses the store now, or did lately, by a version that does not know this revision: names for people."""


def migrate(
    connection: Connection,
    *,
    place: str,
    contract: bool,
    older_users: OlderUsers,
    create: Callable[[Connection], None] | None = None,
) -> Migrated:
    """Bring the store to the newest schema that it may have now. ``create``: makes the tables of a new store at once;
    None: the migrations do. Raises StoreProblem."""
    try:
        config = _config(connection)
        steps = steps_of(ScriptDirectory.from_config(config))
        if not inspect(connection).has_table(OLDEST_TABLE):
            return _create(connection, config, steps, create)
        return _upgrade(connection, config, steps, place, older_users, contract=contract)
    except CommandError as error:
        raise StoreProblem(f"the store's schema is not one that this version knows: {error}") from None


def steps_of(scripts: ScriptDirectory) -> list[Step]:
    """All migrations in their order. Raises StoreProblem for one that does not say what it does."""
    found = []
    for script in reversed(list(scripts.walk_revisions())):
        phase = getattr(script.module, "phase", None)
        if script.revision <= BASELINE:
            phase = Phase.CONTRACT
        if phase not in list(Phase):
            raise StoreProblem(f'the migration {script.revision} has to say phase = "expand" or "contract"')
        found.append(Step(script.revision, Phase(phase)))
    return found


def goal(steps: Sequence[Step], reached: str, *, contract: bool) -> str:
    """How far a store goes that has had the migrations up to ``reached``."""
    if contract or reached < BASELINE:
        return steps[-1].revision
    return max([reached, *(step.revision for step in steps if step.phase is Phase.EXPAND)])


def oldest_of(steps: Sequence[Step], reached: str) -> str:
    """What a version has to know to use a store that has had the migrations up to ``reached``."""
    return max(step.revision for step in steps if step.phase is Phase.CONTRACT and step.revision <= reached)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "otp_core.store:migrations")
    config.attributes["connection"] = connection
    config.attributes[VERSION_TABLE] = REACHED_TABLE
    return config


def _create(
    connection: Connection, config: Config, steps: Sequence[Step], create: Callable[[Connection], None] | None
) -> Migrated:
    if create is None:
        command.upgrade(config, "head")
    else:
        create(connection)
        command.stamp(config, "head")
    head = steps[-1].revision
    oldest = oldest_of(steps, head)
    _OLDEST.create(connection)
    connection.execute(insert(_OLDEST).values(version_num=oldest))
    return Migrated(None, Revisions(oldest, head), None)


def _upgrade(
    connection: Connection,
    config: Config,
    steps: Sequence[Step],
    place: str,
    older_users: OlderUsers,
    *,
    contract: bool,
) -> Migrated:
    found = read_revisions(connection)
    if not is_known(found.reached):
        refuse_unfit(found, place)  # an older version beside a newer one has nothing to add
        return Migrated(found.reached, found, None)
    until = goal(steps, found.reached, contract=contract)
    oldest = max(found.oldest, oldest_of(steps, until))
    if oldest > max(found.oldest, BASELINE) and (users := older_users(oldest)):
        raise StoreProblem(
            f"the store {place} cannot be contracted to {oldest} yet: {', '.join(users)} would be shut out: install "
            "this version there too, or stop them and wait"
        )
    if not inspect(connection).has_table(REACHED_TABLE):
        command.stamp(config, found.reached)
    command.upgrade(config, until)
    connection.execute(update(_OLDEST).values(version_num=oldest))
    waiting = [step.revision for step in steps if step.phase is Phase.CONTRACT and step.revision > until]
    return Migrated(found.reached, Revisions(oldest, until), waiting[-1] if waiting else None)
