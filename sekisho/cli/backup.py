"""``sekisho backup`` and ``sekisho restore``. Neither touches the master key, which is kept in another place."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otp_core.audit import ms_of
from otp_core.json_shapes import local_time
from sekisho.cli.context import CliContext, ExitCode, Stopped, principal
from sekisho.cli.options import AsJson, Reason
from sekisho.cli.output import complain, hint, say, say_json
from sekisho.cli.progress import Stages, progress

if TYPE_CHECKING:
    from otp_core.store.acts import KnownAct
    from otp_core.store.restore import Restored
    from otp_core.store.sqlite.backup import Contents

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Replace what is there.")]


def add_to(app: typer.Typer) -> None:
    """Add both commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    ctx: typer.Context, file: BackupFile, replace: Replace = False, reason: Reason = "", as_json: AsJson = False
) -> None:
    """Write a backup of the store into a new file, while the server goes on. The master key is not in it.

    The file (mode 0600) is complete in itself, and examined before it gets its name. --replace replaces an earlier
    backup, in one moment. Keep the master key in another place.

    \b
    Example:
      sekisho backup /var/backups/sekisho/monday.db --replace
    """
    from otp_core.model import StoreProblem, StoreUnavailable
    from otp_core.sealing import Sealer, read_master_key
    from otp_core.store.backup import back_up, note
    from otp_core.store.sqlite.backup import size_of

    context: CliContext = ctx.obj
    settings = context.settings.store
    store_file = _file_of(context, _NO_BACKUP, is_backup=True)
    sealer = Sealer(read_master_key(settings.master_key_file))
    keep = [settings.master_key_file]
    if context.settings.audit is not None:
        keep.append(context.settings.audit.seal_key_file)
    if context.config:
        keep.append(context.config)
    size = size_of(store_file) if store_file.is_file() else 0
    try:
        with progress("writing the backup", size) as advance:
            contents = back_up(store_file, file, sealer, keep=tuple(keep), replace=replace, advance=advance)
    except KeyboardInterrupt:
        raise Stopped("interrupted: no backup was written", ExitCode.INTERRUPTED) from None
    try:
        by = principal(reason)
        note(context.store, file.absolute(), actor=by.name, source=by.source, reason=by.reason)
    except (StoreProblem, StoreUnavailable) as problem:  # the backup is good
        hint(f"the backup is written, but could not be noted in the store: {problem}")
    if as_json:
        say_json({"file": str(file), **_shape(contents)})
        return
    say(f"wrote {file}: {_text(contents)}")
    hint(f"It does not hold the master key {settings.master_key_file}: keep a copy of that, apart from it.")


def restore(
    ctx: typer.Context,
    file: BackupFile,
    replace: Annotated[
        bool, typer.Option("--replace", help="Where there is a store: keep it beside, under a dated name.")
    ] = False,
    counter_reserve: Annotated[
        int,
        typer.Option(
            min=0, max=100_000, metavar="N", help="Counters that a counter token may have used since the backup."
        ),
    ] = 20,
    trust_clock: Annotated[
        bool, typer.Option("--trust-clock", help="The clock is right now, though it is behind the backup.")
    ] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the store. Stop the server first; the master key has to be in its place.

    Codes that may have been used since the backup are void: tokens by the clock go on within a minute or two; counter
    tokens have to be resynchronised, with two codes beyond --counter-reserve. So are open sessions, reissue permits,
    and tokens that nobody had confirmed. What staff did since the backup is listed, to be entered again.

    \b
    Example:
      sekisho restore /var/backups/sekisho/monday.db --replace
    """
    from otp_core.audit import Ids
    from otp_core.store.restore import Order
    from otp_core.store.restore import restore as put_in_place
    from sekisho.wiring import rules_of

    context: CliContext = ctx.obj
    by = principal(reason)
    order = Order(
        file.absolute(),
        _file_of(context, _NO_RESTORE),
        context.settings.store.master_key_file,
        int(time.time() * 1000),
        rules_of(context.settings).window,
        by.name,
        by.source,
        by.reason,
        counter_reserve,
        replace,
        trust_clock,
    )
    try:
        with ExitStack() as shown:
            done = put_in_place(order, ids=Ids(), advance=Stages(shown))
    except KeyboardInterrupt:
        raise Stopped("interrupted: the store is as it was", ExitCode.INTERRUPTED) from None
    _tell(done, order.store_file, context.settings.store.master_key_file, as_json)


_NO_BACKUP = (
    "no backup was written: PostgreSQL makes them, by pg_basebackup and its archive (docs/operations.md, Backup and "
    "point-in-time recovery on PostgreSQL)"
)
_NO_RESTORE = (
    "nothing was done: recover it with PostgreSQL's own tools while no node serves, then run `sekisho store recovered` "
    "(docs/operations.md, Backup and point-in-time recovery on PostgreSQL)"
)


def _file_of(context: CliContext, otherwise: str, *, is_backup: bool = False) -> Path:
    """The store's file. Raises StoreProblem for a store that is none, with what to do instead; ``is_backup``: and says
    whether its server archives."""
    from otp_core.model import StoreProblem
    from otp_core.store.engines import open_database, store_file

    address = context.settings.store.address
    file = store_file(address)
    if file is not None:
        return file
    if is_backup:
        database = open_database(address, busy_seconds=1.0)
        for found in database.facts():
            if found.check == "database archive":
                hint(f"{found.state}: {found.check}: {found.text}")
        database.engine.dispose()
    raise StoreProblem(f"the store is in PostgreSQL, and {otherwise}; the master key is in no backup of it")


def _tell(done: Restored, store_file: Path, key_file: Path, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "store": str(store_file),
                **_shape(done.contents),
                "kept": str(done.kept) if done.kept else None,
                "old_store_read": done.read,
                "lost_acts": [act_shape(one) for one in done.acts],
            }
        )
        return
    say(f"restored {store_file}: {_text(done.contents)}")
    if done.kept:
        say(f"kept the store that was there as {done.kept}")
    say("every code that may have been used since is void; counter tokens have to be resynchronised")
    for one in done.acts:
        say(act_line(one))
    if done.acts:
        complain(f"{len(done.acts)} acts since the backup are lost: enter them again, in this order, before you serve")
    elif done.read:
        say("no act of staff or customers was lost")
    if not done.read:
        complain("what was done since the backup is known from the journal beside the store alone: ask staff for more")
    hint(f"A backup does not hold the master key: {key_file} is the one that belongs to this store.")


def act_line(act: KnownAct) -> str:
    """A lost act as a line for people, with the command that enters it again."""
    from otp_core.store.acts import enter_again

    whom = " ".join(filter(None, (act.customer, act.token))) if act.number == 1 else f"{act.number:,} of them"
    return f"  {local_time(ms_of(act.id))}  {act.event} {whom} by {act.actor}: {enter_again(act)}"


def act_shape(act: KnownAct) -> dict[str, object]:
    """The same for a script."""
    from otp_core.store.acts import enter_again

    return {**act._asdict(), "at": local_time(ms_of(act.id)), "command": enter_again(act)}


def _shape(contents: Contents) -> dict[str, object]:
    return {
        "customers": contents.customers,
        "tokens": contents.tokens,
        "audit_rows": contents.audit_rows,
        "newest_audit_id": contents.newest_id,
        "as_of": local_time(ms_of(contents.newest_id)),
        "schema": contents.revision,
        "octets": contents.octets,
        "holds_master_key": False,
    }


def _text(contents: Contents) -> str:
    return (
        f"{contents.customers:,} customers, {contents.tokens:,} tokens, {contents.audit_rows:,} audit rows up to "
        f"{local_time(ms_of(contents.newest_id)) or 'never'} ({contents.newest_id}); {contents.octets / 1e6:,.1f} MB"
    )
