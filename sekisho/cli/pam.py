"""The commands for PAM: the agent, offline codes, the examination of a host. They read options and print results."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sekisho.cli.context import CliContext, ExitCode, principal
from sekisho.cli.doctor import tell
from sekisho.cli.options import AsJson, Reason
from sekisho.cli.output import hint, say, say_rows

offline = typer.Typer(help="Codes for hosts while no server answers.", no_args_is_help=True)
_JOURNAL_OCTETS = 64 * 1024 * 1024
Host = Annotated[str, typer.Option(metavar="NAME", help="The host, as its nas_identifier has it.", show_default=False)]


def add_to(app: typer.Typer, doctor: typer.Typer) -> None:
    """Add the commands. ``doctor``: the group of `sekisho doctor`, which gets `doctor pam`."""
    app.command("pam-agent")(pam_agent)
    app.add_typer(offline, name="pam-offline")
    doctor.command("pam")(examine_pam)


def pam_agent(
    ctx: typer.Context,
    settings: Annotated[Path, typer.Option("--settings", metavar="FILE", help="The agent's own settings.")] = Path(
        "/etc/sekisho/pam-agent.toml"
    ),
    check: Annotated[bool, typer.Option("--check", help="Only say whether the settings are right.")] = False,
) -> None:
    """The PAM door on a host without the store: asks RADIUS servers. SIGHUP reads profiles and secret again.

    \b
    Examples:
      sekisho pam-agent --settings /etc/sekisho/pam-agent.toml --check
      sekisho pam-agent --settings /etc/sekisho/pam-agent.toml
    """
    _context(ctx).config = settings  # a fault is this file's, whatever /etc/sekisho/sekisho.toml is
    from pam_module.agent import run
    from pam_module.agent_settings import LoadedAgent, load_agent
    from sekisho.notify import Notifier

    def read() -> LoadedAgent:
        return load_agent(settings, environment=os.environ)

    if check:
        loaded = read()
        say(f"{settings} is right: {len(loaded.agent.servers)} servers, {len(loaded.agent.profiles)} profiles")
        return
    raise typer.Exit(run(read, Notifier(os.environ)))


@offline.command("key")
def key(ctx: typer.Context, host: Host, reason: Reason = "") -> None:
    """The host's own key, under which its caches are sealed and its journals verified. Keep it from everybody else.

    \b
    Example:
      sekisho pam-offline key --host web1 | ssh root@web1 'umask 077; cat > /var/lib/sekisho-pam/host.key'
    """
    from otp_core.audit import Event
    from pam_module.offline.cache import encode_key

    store, who = _context(ctx).store, principal(reason)
    with store.work() as work:
        work.audit(Event.OFFLINE_KEY, actor=who.name, source=host, reason=who.reason)
    _out(encode_key(store.sealer.host_key(host)), "a key")


@offline.command("issue")
def issue(
    ctx: typer.Context,
    host: Host,
    user: Annotated[list[str], typer.Option(metavar="CONTRACT_ID", help="Once for each user.", show_default=False)],
    logins: Annotated[int, typer.Option(min=1, max=1000, help="Logins that each user has.")] = 5,
    hours: Annotated[float, typer.Option(min=0.1, max=168, help="How long its codes are good.")] = 12,
    reason: Reason = "",
) -> None:
    """A sealed cache for a host, on standard output. Takes a password hash for each half minute and user.

    \b
    Example:
      sekisho pam-offline issue --host web1 --user taro --logins 3 --hours 12 > cache
    """
    from pam_module.offline.reconcile import issue
    from sekisho.wiring import cost_of, open_clock, rules_of

    context = _context(ctx)
    octets = issue(
        context.store,
        rules_of(context.settings),
        cost_of(context.settings),
        host=host,
        users=user,
        logins=logins,
        hours=hours,
        now=open_clock(context.store).now(),
        principal=principal(reason),
    )
    _out(octets, "a cache")


@offline.command("reconcile")
def reconcile(
    ctx: typer.Context,
    journal: Annotated[Path, typer.Argument(metavar="FILE", help="A host's journal.", show_default=False)],
    reason: Reason = "",
) -> None:
    """Spend here the codes that a host accepted offline. Exit code 1 if a code was used twice. Safe to repeat.

    \b
    Examples:
      scp root@web1:/var/lib/sekisho-pam/journal .
      sekisho pam-offline reconcile journal
    """
    from otp_core.json_shapes import local_time
    from otp_core.regular_file import read_regular
    from pam_module.offline.journal import BadJournal
    from pam_module.offline.reconcile import Outcome, reconcile
    from sekisho.wiring import open_clock, rules_of

    context = _context(ctx)
    octets = read_regular(journal, _JOURNAL_OCTETS)
    rules, now = rules_of(context.settings), open_clock(context.store).now()
    try:
        reconciled = reconcile(context.store, octets, rules, principal(reason), now)
    except BadJournal as error:
        from sekisho.cli.output import complain

        complain(f"{journal}: {error}; nothing was reconciled")
        raise typer.Exit(ExitCode.REFUSED) from None
    say_rows(
        ("when", "user", "token", "outcome"),
        [(local_time(one.entry.at), one.entry.user, one.entry.token_id, one.outcome) for one in reconciled],
    )
    hint(f"{len(reconciled)} new entries were reconciled")
    if any(one.outcome in (Outcome.CONFLICT, Outcome.GONE) for one in reconciled):
        raise typer.Exit(ExitCode.REFUSED)


def examine_pam(
    ctx: typer.Context,
    root: Annotated[Path, typer.Option(metavar="DIR", help="Look at the host whose files are there.")] = Path("/"),
    service: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="PAM services to look at. [default: all that use it]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this host: sshd, each stack's order, what fails open, the socket, the module. Exit code 1 if any fails.

    \b
    Examples:
      sekisho doctor pam
      sekisho doctor pam --service sshd --json
    """
    from pam_module.doctor import examine

    tell(examine(root, service or []), as_json=as_json)


def _context(ctx: typer.Context) -> CliContext:
    context = ctx.find_object(CliContext)
    assert context is not None
    return context


def _out(octets: bytes, what: str) -> None:
    """Write to a file or a pipe, never to a terminal. Raises BadParameter."""
    if sys.stdout.isatty():
        raise typer.BadParameter(f"{what} is not printed on a terminal: send it into a file with > FILE")
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()
