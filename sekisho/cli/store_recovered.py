"""``sekisho store recovered``: what is to be done after PostgreSQL was recovered to an earlier moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from otp_core.audit import ms_of
from otp_core.json_shapes import local_time
from sekisho.cli.backup import act_line, act_shape
from sekisho.cli.context import CliContext, ExitCode, Stopped, principal
from sekisho.cli.options import AsJson, Reason
from sekisho.cli.output import complain, hint, say, say_json
from sekisho.cli.progress import progress

if TYPE_CHECKING:
    from otp_core.store.recovered import Recovered


def recovered_command(
    ctx: typer.Context,
    counter_reserve: Annotated[
        int,
        typer.Option(
            min=0, max=100_000, metavar="N", help="Counters that a counter token may have used in the lost time."
        ),
    ] = 20,
    trust_clock: Annotated[
        bool,
        typer.Option(
            "--trust-clock",
            help="The clock is right now, though it is behind the newest entry, or the database's is another.",
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Do it even if it was done before and nothing has happened since.")
    ] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """After PostgreSQL was recovered to an earlier moment, or has lost what came last: no code that may have been used
    since is good again. Stop all nodes first.

    Tokens by the clock go on within a minute or two; counter tokens have to be resynchronised, with two codes beyond
    --counter-reserve. Open sessions, reissue permits and tokens that nobody had confirmed are void. What staff did in
    the lost time is listed, as far as this node knows it. Safe to repeat.

    \b
    Example:
      sekisho store recovered --reason "disk array failed, recovered to 9:14"
    """
    from otp_core.model import StoreProblem
    from otp_core.store.postgresql.sessions import wait_until_unused
    from otp_core.store.queries import counts
    from otp_core.store.recovered import Order, recover, refuse_wrong_clock
    from sekisho.wiring import rules_of

    context: CliContext = ctx.obj
    store = context.store
    if store.database.file is not None:
        raise StoreProblem(f"the store is the file {store.database.file}: `sekisho restore` does this by itself")
    wait_until_unused(store.database)
    if not trust_clock:
        refuse_wrong_clock(store, int(time.time() * 1000))
    by = principal(reason)
    order = Order(
        int(time.time() * 1000),
        rules_of(context.settings).window,
        by.name,
        by.source,
        by.reason,
        counter_reserve,
        trust_clock,
        again,
    )
    with store.read() as connection:
        number = counts(connection)["token"]
    try:
        with progress("voiding codes", number) as advance:
            done = recover(store, order, advance=advance)
    except KeyboardInterrupt:
        raise Stopped("interrupted: the store is as it was", ExitCode.INTERRUPTED) from None
    _tell(done, store.database.place, as_json=as_json)


def _tell(done: Recovered, place: str, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "store": place,
                "as_of": local_time(ms_of(done.as_of_id)),
                "newest_audit_id": done.as_of_id,
                "before": done.voided is None,
                "voided": done.voided._asdict() if done.voided else None,
                "lost_acts": [act_shape(one) for one in done.acts],
            }
        )
        return
    if done.voided is None:
        say("this was done before, and nothing has happened in the store since: nothing was left to do")
    else:
        say(f"the store {place} was as of {local_time(ms_of(done.as_of_id)) or 'its beginning'}; void are now:")
        say(f"  {done.voided.text}")
    for one in done.acts:
        say(act_line(one))
    if done.acts:
        complain(f"{len(done.acts)} acts of the lost time are known here: enter them again, before you serve")
    hint("What was done at another node in the lost time, `sekisho doctor` lists there.")
