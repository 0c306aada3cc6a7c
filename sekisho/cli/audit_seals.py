"""``sekisho audit verify``, ``public-key`` and ``new-key``: the seals of the audit trail."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext, ExitCode, principal
from sekisho.cli.options import Reason
from sekisho.cli.output import complain, hint, say
from sekisho.cli.progress import progress

if TYPE_CHECKING:
    from otp_core.seals.chain import Report
    from otp_core.seals.copies import CopiedSeal
    from otp_core.settings import AuditSettings

_NAMED = 100
"""Findings that are shown."""

PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="Trust this key (`sekisho audit public-key` prints it); may be given again. [default: that of "
        "audit.seal_key_file]",
        show_default=False,
    ),
]


def verify(
    ctx: typer.Context,
    exported: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Verify this file of `sekisho audit export`, not the store."),
    ] = None,
    public_keys: PublicKeys = None,
    copy: Annotated[
        Path | None,
        typer.Option(
            "--seal-copy",
            metavar="FILE",
            help="The seals that were copied outside. [default: audit.seal_copy; with --export: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Verify that nobody has changed the audit trail since it was sealed. Exit code 1 if somebody has; each finding has
    a line. With --export and --public-key it needs neither settings nor store.

    \b
    Examples:
      sekisho audit verify
      sekisho audit public-key > audit.pub
      sekisho audit verify --export trail.jsonl --public-key audit.pub
    """
    context: CliContext = ctx.obj
    keys, copies = trusted_keys(context, public_keys or []), _copies(context, copy, exported)
    _tell(_verify_store(context, keys, copies) if exported is None else _verify_file(exported, keys, copies))


def public_key(ctx: typer.Context) -> None:
    """Print the public key of the seals (PEM). Keep it where the audit department keeps it, not on this machine alone.

    \b
    Example:
      sekisho audit public-key > audit.pub
    """
    from otp_core.seals.keys import public_pem, read_seal_key

    typer.echo(public_pem(read_seal_key(audit_settings(ctx.obj).seal_key_file)), nl=False)


def new_key(ctx: typer.Context, reason: Reason = "") -> None:
    """Change the key of the seals, while the server goes on. The old key names the new one in a seal, so who has either
    public key can verify all. The old key is kept beside it, under a dated name; delete it when the new one is backed
    up.

    \b
    Example:
      sekisho audit new-key --reason "yearly"
    """
    from otp_core.audit import Event
    from otp_core.seals.keys import create_seal_key, public_name, read_seal_key
    from sekisho.sealing_process import sealer_of

    context: CliContext = ctx.obj
    audit = audit_settings(context)
    path, by = audit.seal_key_file, principal(reason)
    old = read_seal_key(path)
    new_file = path.with_name(f".{path.name}.new")
    new_file.unlink(missing_ok=True)
    create_seal_key(new_file)
    new = read_seal_key(new_file)
    _give_like(new_file, path)
    sealer = sealer_of(audit, context.store)
    kept = path.with_name(f"{path.name}.until-{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        sealer.hand_over(public_name(new))
        os.link(path, kept)
        new_file.replace(path)
        sealer.hand_over(None)
    finally:
        sealer.close()
    with context.store.work() as work:
        text = f"{public_name(old)} to {public_name(new)}"
        text = f"{by.reason}; {text}" if by.reason else text
        work.audit(Event.SEAL_KEY_CHANGED, actor=by.name, source=by.source, reason=text)
    say(f"{path} is a new key from the next seal on; the old one is kept as {kept}")
    hint("Back the new key up, apart from the store, and give the audit department `sekisho audit public-key`.")


def _give_like(new: Path, old: Path) -> None:
    if os.geteuid() == 0:
        found = old.stat()
        os.chown(new, found.st_uid, found.st_gid)


def audit_settings(context: CliContext) -> AuditSettings:
    from otp_core.settings import ConfigProblems, Problem

    audit = context.settings.audit
    if audit is None:
        text = "is missing, so the audit trail is not sealed: write [audit] with seal_key_file, and run `sekisho init`"
        raise ConfigProblems([Problem("", "audit", text)])
    return audit


def trusted_keys(context: CliContext, files: Sequence[Path]) -> list[str]:
    from otp_core.seals.keys import public_name, read_public_key, read_seal_key

    if files:
        return [read_public_key(file) for file in files]
    return [public_name(read_seal_key(audit_settings(context).seal_key_file))]


def _copies(context: CliContext, copy: Path | None, exported: Path | None) -> Iterator[CopiedSeal] | None:
    from otp_core.seals.copies import SealCopy

    if copy is None and exported is None and context.settings.audit is not None:
        copy = context.settings.audit.seal_copy
    elif copy is not None:
        os.stat(copy)  # one that is named has to be there
    return None if copy is None else SealCopy(copy).seals()


def _verify_store(context: CliContext, keys: list[str], copies: Iterator[CopiedSeal] | None) -> Report:
    from otp_core.seals.chain import Verification

    verification = Verification(keys, copies, now_ms=_now_ms())  # the copies before the newest seal is asked for
    trail = context.store.trail()
    verification.take_strange(trail.strange())
    newest = trail.newest()
    with progress("verifying the audit trail", trail.size()) as advance:
        return verification.run(trail.pieces(newest), advance)


def _verify_file(file: Path, keys: list[str], copies: Iterator[CopiedSeal] | None) -> Report:
    from otp_core.regular_file import open_regular
    from otp_core.seals.chain import Verification
    from otp_core.seals.export import ExportProblem, read_export
    from otp_core.seals.export_file import opened

    try:
        with (
            open_regular(file) as raw,
            opened(raw) as lines,
            progress("verifying the export", file.stat().st_size) as advance,
        ):
            export = read_export(lines)
            verification = Verification(keys, copies, now_ms=_now_ms(), exported_at=export.exported_at)
            if export.behind is not None:
                verification.take_behind(export.behind)
            return verification.run(export.pieces, lambda _: advance(raw.tell()))
    except ExportProblem as problem:
        complain(f"{file}: {problem}")
        raise typer.Exit(ExitCode.REFUSED) from None


def _now_ms() -> int:
    return int(time.time() * 1000)


def _tell(report: Report) -> None:
    from otp_core.json_shapes import local_time

    for text in report.notices[:_NAMED]:
        say(f"note: {text}")
    for text in report.findings[:_NAMED]:
        say(f"FOUND: {text}")
    more = report.more + max(0, len(report.findings) - _NAMED)
    if more:
        say(f"FOUND: {more:,} more")
    newest = report.newest
    upto = "" if newest is None else f", the newest of {local_time(newest.sealed_at)} (number {newest.number})"
    say(f"{report.seals:,} seals over {report.rows:,} rows{upto}; {report.waiting:,} rows wait for the next seal")
    if not report.holds:
        complain("the audit trail is not what was sealed: docs/audit.md says what each finding means")
        raise typer.Exit(ExitCode.REFUSED)
    if newest is None:
        complain("nothing is sealed yet: is there an [audit] section, and does the server run?")
        raise typer.Exit(ExitCode.REFUSED)
    say("the audit trail is what was sealed")
