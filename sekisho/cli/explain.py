"""``sekisho explain login``: what a login would be answered, by which rule, and what to do next. It changes nothing.

Nor does the look itself leave an audit row: like `customer show` it is neither a change nor a verdict, and whoever can
run it can read store and key.
"""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from otp_core.json_shapes import local_time
from sekisho.cli.context import CliContext
from sekisho.cli.options import AsJson
from sekisho.cli.output import hint, say, say_facts, say_json
from sekisho.cli.silent_log import without_log

if TYPE_CHECKING:
    from otp_core.authentication.explanation import Asked, Explanation
    from radius_server.clients import Client

app = typer.Typer(help="Why: what would be answered, and by which rule.", no_args_is_help=True)

_ASK = "-"

COMMANDS = {
    "unlock": "customer unlock {id}",
    "resync": "resync {id}",
    "enrol": "enrol {id} TOKEN_ID",
    "resume": "resume {id}",
    "report-lost": "report-lost {id}",
    "permit-reissue": "permit-reissue {id}",
    "use-permit": "change --permit {id} TOKEN_ID",
    "check-name": "customer list --search TEXT",
    "check-token": "customer show {id}",
    "doctor": "doctor",
}
"""What staff types for a next step, where there is a command."""


def _name(text: str) -> str:
    from otp_core.otp import LONGEST_TYPED

    if not text.strip() or not text.isprintable() or len(text) > LONGEST_TYPED:
        raise typer.BadParameter("write the user name as the gateway sends it, for example 1234567")
    return text


def _code(text: str) -> str:
    from otp_core.otp import LONGEST_TYPED

    if not text or len(text) > LONGEST_TYPED:
        raise typer.BadParameter(f"write the code, at most {LONGEST_TYPED} characters")
    return text


Customer = Annotated[
    str,
    typer.Argument(
        parser=_name,
        metavar="CUSTOMER",
        help="The user name as the gateway sends it: the contract ID, with a realm if it adds one.",
        show_default=False,
    ),
]
ClientName = Annotated[
    str, typer.Option("--client", metavar="NAME", help="Which of [[radius.clients]] asks.", show_default=False)
]
WithPassword = Annotated[
    bool, typer.Option("--password-stdin", help="Check a login password too; without it, it is taken to be right.")
]
Code = Annotated[
    str | None,
    typer.Option(
        parser=_code,
        metavar="CODE",
        help="The code that the customer typed; - asks for it, so that `ps` does not show it.",
        show_default=False,
    ),
]
CallingStation = Annotated[
    str,
    typer.Option(
        "--calling-station-id",
        metavar="ADDRESS",
        help="The customer's own address, where the gateway sends it: wrong passwords are counted by it.",
        show_default=False,
    ),
]


@app.command("login")
def login(
    ctx: typer.Context,
    customer: Customer,
    client: ClientName,
    password: WithPassword = False,
    code: Code = None,
    calling_station_id: CallingStation = "",
    as_json: AsJson = False,
) -> None:
    """Say what a login would be answered, by which rule, and what to do next. Nothing is spent, nothing is counted.

    Password and code are asked for without echo, or read from standard input, a line each, the password first. The
    server's own code decides, by the client's settings: what this says is what the gateway would hear now.

    \b
    Examples:
      sekisho explain login 1234567 --client ib-gateway
      sekisho explain login 1234567 --client ib-gateway --code -
      ./form | sekisho explain login 'BANK\\1234567' --client vpn --password-stdin --code - --json
    """
    context: CliContext = ctx.obj
    asked_client = _client(context, client)
    found = _explained(context, asked_client, customer, *_secrets(password=password, code=code), calling_station_id)
    if as_json:
        from otp_core import json_shapes

        say_json(json_shapes.login_explained(found, _commands(found)))
    else:
        _say(found, context)


def _client(context: CliContext, name: str) -> Client:
    """Raises typer.BadParameter for one that is not in the settings."""
    from radius_server.explaining import client_named

    radius = context.settings.radius
    try:
        found = client_named(radius, name)
    except ValueError as error:
        from otp_core.model import StoreProblem

        raise StoreProblem(f"radius.dictionary: {error}") from None
    if found is None:
        names = ", ".join(client.name for client in radius.clients) or "none"
        raise typer.BadParameter(f"the settings have no such client; they have: {names}", param_hint="--client")
    return found


def _secrets(*, password: bool, code: str | None) -> tuple[str | None, str | None]:
    """Password and code, None for one that is not given."""
    from sekisho.cli.secret_input import ask

    wanted = [what for what, is_asked in (("login password", password), ("code", code == _ASK)) if is_asked]
    given = iter(ask(*wanted, from_stdin=False) if wanted else ())
    return next(given) if password else None, _code(next(given)) if code == _ASK else code


def _explained(
    context: CliContext, client: Client, customer: str, password: str | None, code: str | None, station: str
) -> Explanation:
    """Raises typer.BadParameter for what no gateway can send."""
    from otp_core.authentication.explanation import Asked, Explanation, Round
    from otp_core.clock import ClockWrong
    from otp_core.model import Reject, Silence
    from otp_core.radius.codec import Unservable
    from radius_server.explaining import CannotSend, asked_of

    try:
        asked = asked_of(context.settings.radius, client, customer, password, code, station)
    except CannotSend as error:
        raise typer.BadParameter(str(error)) from None
    except Unservable as error:
        refused = Reject(str(error), client.policy.language)
        return Explanation(Asked(customer, client.policy, client.name), (Round("", refused, None, str(error)),))
    silent = ""
    if client.challenges and _challenges_open(context) >= context.settings.radius.max_open_challenges:
        silent = "too many open challenges"
    else:
        try:
            return _asked(context, asked)
        except ClockWrong as error:
            silent = str(error)
    return Explanation(asked, (Round("", Silence(silent), None, silent),))


def _challenges_open(context: CliContext) -> int:
    with closing(context.store.maintenance()) as maintenance:
        return maintenance.count_challenges()


def _asked(context: CliContext, asked: Asked) -> Explanation:
    """Raises ClockWrong, StoreUnavailable, and what opening the store raises."""
    import asyncio

    from sekisho.wiring import explaining

    async def scene() -> Explanation:
        with explaining(context.settings, context.store) as explainer:
            return await explainer.explain(asked)

    with without_log():
        return asyncio.run(scene())


def _commands(found: Explanation) -> list[str]:
    """What staff may type next."""
    id_ = found.asked.customer if found.record is None else found.record.contract_id
    quoted = f"{'-- ' if id_.startswith('-') else ''}{shlex.quote(id_)}"
    return [f"sekisho {COMMANDS[step].format(id=quoted)}" for step in found.next_steps if step in COMMANDS]


def _say(found: Explanation, context: CliContext) -> None:
    from otp_core.json_shapes import ANSWERS
    from otp_core.login.next_step import NEXT_STEP_TEXT

    last, record = found.last, found.record
    answer = "depends on the code" if found.code_missing else ANSWERS[type(last.verdict)]
    facts: dict[str, object] = {
        "customer": found.asked.customer if record is None else record.contract_id,
        "client": f"{found.asked.client} (mode {found.asked.policy.mode})",
    }
    for one in found.rounds[:-1]:
        facts[f"to {one.sent}"] = f"{ANSWERS[type(one.verdict)]}: {one.why}"
    facts["answer"] = answer
    facts["why"] = "the code has to come with this request" if found.code_missing else last.why
    if record is not None:
        facts |= {
            "one-time passwords": record.otp_use,
            "locked since": local_time(record.locked_at),
            "wrong codes": f"{record.failures} of {context.settings.login.lock_after}",
        }
    facts["wrong passwords"] = found.wrong_passwords or None
    facts["delay"] = f"{found.wait_seconds:.0f} s more" if found.wait_seconds else None
    for token in found.tokens:
        facts[f"token {token.token_id}"] = "; ".join(
            filter(None, (token.words, f"last code accepted {local_time(token.last_at) or 'never'}"))
        )
    facts["a login would"] = ", ".join(found.effects)
    say_facts(facts)
    for step in found.next_steps:
        say(f"next: {NEXT_STEP_TEXT[step]}")
    for command in _commands(found):
        say(f"      {command}")
    for note in found.notes:
        hint(f"Note: {note}.")
