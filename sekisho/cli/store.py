"""``sekisho store``: moves a store in a file into the configured one, in PostgreSQL; what to do behind a recovery:
store_recovered.py."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext, ExitCode, Stopped, principal
from sekisho.cli.options import AsJson, Reason
from sekisho.cli.output import hint, say, say_json
from sekisho.cli.progress import Stages
from sekisho.cli.store_recovered import recovered_command

if TYPE_CHECKING:
    from sekisho.settings import Settings

app = typer.Typer(no_args_is_help=True, help="A store in PostgreSQL: moved there, or recovered.")
app.command("recovered")(recovered_command)


@app.callback()
def _store() -> None:
    """A store in PostgreSQL: moved there, or recovered to an earlier moment."""


@app.command("copy")
def copy_command(
    ctx: typer.Context,
    source_url: Annotated[
        str, typer.Option("--from", metavar="URL", help="The store that is copied: sqlite:////path/of/it.db")
    ],
    give_up: Annotated[
        bool, typer.Option("--give-up", help="End a copy that is not complete: the source is used again.")
    ] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Copy a store in a file into the configured one in PostgreSQL, which `sekisho init` has just made. Stop the server
    first. The master key of the source has to be in its place.

    Everything is copied, with last steps and audit ids: a code that was used stays used. Whatever interrupts it, the
    same command goes on. The source is not served or changed from the beginning of the copy on.

    \b
    Example:
      sekisho store copy --from sqlite:////var/lib/sekisho/sekisho.db
    """
    from otp_core.audit import SharedIds
    from otp_core.model import StoreUnavailable
    from otp_core.store.copying import Order, copy
    from otp_core.store.copying import give_up as let_go

    context: CliContext = ctx.obj
    settings, source = context.settings.store, _file_of(source_url)
    if give_up:
        let_go(source, settings.address)
        say(f"{source} is used again; what was copied of it is not complete, and a later copy begins anew")
        return
    by = principal(reason)
    order = Order(
        source,
        settings.address,
        settings.master_key_file,
        int(time.time() * 1000),
        by.name,
        by.source,
        by.reason,
        _kept_beside(source, context.settings),
    )
    try:
        with ExitStack() as shown:
            done = copy(order, ids=SharedIds(), advance=Stages(shown))
    except StoreUnavailable as problem:
        raise Stopped(f"{problem}; then run this again, and it goes on where it was", ExitCode.UNUSABLE) from None
    except KeyboardInterrupt:
        raise Stopped(
            "interrupted: neither store is used now. Run it again, and it goes on; or with --give-up, and the source "
            "is used as before",
            ExitCode.INTERRUPTED,
        ) from None
    if as_json:
        say_json({"source": str(source), "rows": done.rows, "resumed": done.resumed, "before": done.before})
        return
    if done.before:
        say(f"{source} was copied before: nothing was left to do")
    else:
        number = (
            f"{done.rows['customer']:,} customers, {done.rows['token']:,} tokens, {done.rows['audit']:,} audit rows"
        )
        say(f"copied and compared {number}; {sum(done.rows.values()):,} rows in all")
    hint(f"{source} is marked as moved, and is not served again: keep it as a record of this day.")


def _file_of(url: str) -> Path:
    """The file of the source. Raises typer.BadParameter."""
    from otp_core.model import StoreProblem
    from otp_core.store.engines import store_file

    try:
        file = store_file(url)
    except StoreProblem as problem:
        text = str(problem).removeprefix("store.url ")
        raise typer.BadParameter(text, param_hint="--from") from None
    if file is None:
        raise typer.BadParameter("write sqlite:////absolute/path/file.db: a store in a file", param_hint="--from")
    return file


def _kept_beside(source: Path, settings: Settings) -> dict[str, bytes]:
    """What a store in a file keeps beside it, and one in PostgreSQL within. Raises StoreProblem and OSError."""
    from otp_core.outwards.position import FilePosition, encode
    from sekisho.outlets import position_names

    reached = {name: FilePosition(source, name).read() for name in position_names(settings)}
    return {name: encode(id_) for name, id_ in reached.items() if id_ is not None}
