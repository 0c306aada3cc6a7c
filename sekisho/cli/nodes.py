"""``sekisho nodes``: the servers that answer logins from this store."""

from __future__ import annotations

import typer

from sekisho.cli.context import CliContext
from sekisho.cli.options import AsJson
from sekisho.cli.output import say, say_json, say_rows

_HEADINGS = ("name", "state", "last_seen", "logins", "clock", "version", "schema", "started")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("nodes")(nodes)


def nodes(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the nodes: each running `sekisho serve` on this store, with the logins that it has accepted since it was
    started, and how far its clock is ahead of the store's. A node that was stopped, or is not seen any more, is listed
    for a week. A store in a file is served by one machine, whose clock is the store's; a node shows life there every
    30 s, in PostgreSQL every 5 s.

    \b
    Example:
      sekisho nodes
    """
    from otp_core.json_shapes import node
    from otp_core.nodes.holder import has_ended
    from otp_core.nodes.state import state_of
    from otp_core.store.nodes import nodes as known

    context: CliContext = ctx.obj
    database = context.store.database
    with database.read() as connection:
        now, lines = database.time_ms(connection), known(connection)
    shapes = [node(line, state_of(line, now, has_ended), now) for line in lines]
    if as_json:
        for shape in shapes:
            say_json(shape)
    elif shapes:
        say_rows(_HEADINGS, (_cells(shape) for shape in shapes))
        for shape in shapes:
            if shape["silent"]:
                say(f"{shape['name']} answers no login: {shape['silent']}")
    else:
        say("no node was seen in the last week")


def _cells(shape: dict[str, object]) -> list[object]:
    ago, offset = shape["seen_seconds_ago"], shape["clock_offset_seconds"]
    oldest, newest = shape["oldest_schema"], shape["newest_schema"]
    return [
        shape["name"],
        shape["state"],
        f"{ago} s ago",
        shape["logins"],
        "the store's" if offset is None else f"{offset:+.3f} s",
        shape["version"],
        newest if oldest == newest else f"{oldest} to {newest}",
        shape["started"],
    ]
