"""Checks across sections: entries given twice, sections that clash, and settings that work but are risky.

It changes no setting. What is wrong within one value or section is checked where that section is defined.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pam_module.settings
import radius_server.settings
from admin_web.settings import DEFAULT_ISSUER
from otp_core.sealing import KeyProblem
from otp_core.seals.copies import SealCopy
from otp_core.seals.keys import read_seal_key
from otp_core.settings import Checks, PasswordSettings
from otp_core.settings.repeated import Remark
from otp_core.settings.sources import SourceMap
from otp_core.settings.toml_lines import Location
from otp_core.store.engines import store_file
from otp_core.store.postgresql.address import is_postgresql, parse, weakness
from sekisho import first_factor_checks, sign_on_checks, verifier_checks, webhook_checks

if TYPE_CHECKING:
    from sekisho.settings import Settings

_OWASP_MINIMUM = ((47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5))
"""Equally strong pairs (KiB, passes) for argon2id, from OWASP's Password Storage Cheat Sheet."""


_HELPS = {
    errno.EISDIR: "; name a file in it",
    errno.EACCES: "; give its folder to the user that the server runs as",
    errno.EPERM: "; give its folder to the user that the server runs as",
    errno.ENOENT: "; make its folder, for the user that the server runs as",
}
"""What to do about a copy of the seals that cannot be written."""

_MANY_PROXIES = 7
"""A network of proxies with a shorter prefix than this is a risk: shorter than that of private networks."""

_CALLED = {"console": "console", "api": "API"}


def given_twice(values: dict[str, Any], sources: SourceMap) -> Iterator[Remark]:
    """Entries that an earlier entry of the same list has already. ``values`` are not checked yet."""
    yield from pam_module.settings.given_twice(values, sources)
    yield from radius_server.settings.given_twice(values, sources)
    yield from first_factor_checks.given_twice(values, sources)
    yield from verifier_checks.given_twice(values, sources)
    yield from webhook_checks.given_twice(values, sources)


def problems(settings: Settings) -> Iterator[Remark]:
    """Sections that cannot be used together."""
    if settings.web and settings.soft_token and settings.web.public_origin == settings.soft_token.public_origin:
        yield (
            ("soft_token", "public_origin"),
            "is [web]'s too: the soft token needs an origin of its own, so that no page of the portal reads it",
        )
    yield from _shared_origins(settings)
    yield from _clashing_addresses(settings)
    yield from radius_server.settings.problems(settings.radius)
    yield from first_factor_checks.problems(settings)
    yield from verifier_checks.problems(settings)
    yield from sign_on_checks.problems(settings)
    yield from webhook_checks.problems(settings)
    if settings.syslog is not None and settings.audit is None:
        text = "needs [audit]: only rows that are sealed are sent, because behind them none comes late"
        yield ("syslog",), text
    yield from _one_file_for_two(settings)
    if settings.pam is not None and (reason := _no_place_for_a_socket(settings.pam.socket, settings)):
        yield (
            ("pam", "socket"),
            f"{settings.pam.socket} {reason}: write a path of its own, such as /run/sekisho/pam.sock",
        )


def _shared_origins(settings: Settings) -> Iterator[Remark]:
    """Of staff and of programs: customers' browsers never ask those."""
    origins = {
        name: section.public_origin
        for name in ("web", "soft_token", "console", "api")
        if (section := getattr(settings, name)) is not None
    }
    for name, others in (("console", ("web", "soft_token")), ("api", ("web", "soft_token", "console"))):
        for other in others:
            if name in origins and origins.get(other) == origins[name]:
                called = _CALLED[name]
                text = (
                    f"is [{other}]'s too: the {called} needs an origin of its own, that customers' browsers never ask"
                )
                yield (name, "public_origin"), text


def _one_file_for_two(settings: Settings) -> Iterator[Remark]:
    """What is written for one purpose must not be what is kept for another: lines in the master key are its end."""
    audit = settings.audit
    if audit is None:
        return
    taken = {settings.store.master_key_file.resolve(): "store.master_key_file"}
    if (store := store_file(settings.store.url)) is not None:
        taken[store] = "store.url"
    for name, path in (("seal_key_file", audit.seal_key_file), ("seal_copy", audit.seal_copy)):
        if path is not None and (other := taken.setdefault(path.resolve(), f"audit.{name}")) != f"audit.{name}":
            yield ("audit", name), f"is the file of {other} too: name one of its own"


def _no_place_for_a_socket(path: Path, settings: Settings) -> str | None:
    """Why `serve` could not make its socket there, by what is there now; None if it could."""
    if path.is_dir():
        return "is a folder"
    if path == settings.store.master_key_file or settings.store.url == f"sqlite:///{path}":
        return "belongs to the store"
    return "is there, and is no socket" if path.exists() and not path.is_socket() else None


def _clashing_addresses(settings: Settings) -> Iterator[Remark]:
    """Of each two HTTP listeners that cannot both listen, the later one."""
    sections = {name: getattr(settings, name) for name in ("web", "soft_token", "console", "api", "metrics")}
    listening = [(name, section.listen) for name, section in sections.items() if section is not None]
    for at, (name, listen) in enumerate(listening):
        for before, taken in listening[:at]:
            if listen.overlaps(taken, dual_stack=True):
                yield (name, "listen"), f"{listen} and {before}.listen, {taken}, overlap: write another port"


def risks(settings: Settings) -> Iterator[Remark]:
    """Settings that work, but are weaker or of less use than they look."""
    if is_postgresql(settings.store.url) and (weak := weakness(parse(settings.store.address))) is not None:
        yield ("store", "url"), weak
    if not _hashes_well(settings.password):
        yield ("password",), "is weaker than OWASP's minimum for argon2id: memory_kib = 19456, time_cost = 2"
    token = settings.soft_token
    if token and token.public_origin.startswith("https:") and not (token.tls_certificate or token.trusted_proxies):
        yield (
            ("soft_token", "trusted_proxies"),
            "names nobody, so all that comes through the proxy in front counts as one address, and "
            "tokens_per_address is everybody's; and what it passes on under another name than "
            f"{urlsplit(token.public_origin).netloc} is answered with 421; write the proxy's address",
        )
    portal = settings.web
    if portal and portal.public_origin.startswith("https:") and not (portal.tls_certificate or portal.trusted_proxies):
        yield (
            ("web", "trusted_proxies"),
            "names nobody, so all that comes through the proxy in front counts as one address, and "
            "address_free_failures wrong passwords of one stranger slow everybody's sign-in down; and what it passes "
            f"on under another name than {urlsplit(portal.public_origin).netloc} is answered with 421; write the "
            "proxy's address",
        )
    if portal and portal.public_origin.startswith("https:") and portal.issuer == DEFAULT_ISSUER:
        yield (
            ("web", "issuer"),
            f"is {DEFAULT_ISSUER}, and that is what customers' authenticator apps call the bank; write its name",
        )
    yield from _risks_of_proxies(settings)
    yield from _risks_of_console(settings)
    yield from sign_on_checks.risks(settings)
    api = settings.api
    if api and api.public_origin.startswith("https:") and not (api.tls_certificate or api.trusted_proxies):
        yield (
            ("api", "trusted_proxies"),
            "names nobody, so all that comes through the proxy in front counts as one address, in the audit trail and "
            "for the networks of a key; write the proxy's address",
        )
    metrics = settings.metrics
    if metrics is not None and ip_address(metrics.listen.host.partition("%")[0]).is_unspecified:
        text = "is every address of this machine, and whoever reaches it reads the figures; write an internal one"
        yield ("metrics", "listen"), text
    yield from _risks_of_audit(settings)
    yield from radius_server.settings.risks(settings.radius)
    yield from first_factor_checks.risks(settings)
    yield from verifier_checks.risks(settings)
    if settings.pam:
        yield from pam_module.settings.risks(settings.pam)


def _risks_of_proxies(settings: Settings) -> Iterator[Remark]:
    for name in ("web", "soft_token", "console", "api"):
        section = getattr(settings, name)
        for index, network in enumerate(section.trusted_proxies if section is not None else ()):
            if network.prefixlen < _MANY_PROXIES:
                yield (
                    (name, "trusted_proxies", index),
                    f"{network} is very wide: every address in it is believed, whatever address it names as the "
                    "browser's, and so has no failures of its own; write the proxy's address",
                )


def _risks_of_console(settings: Settings) -> Iterator[Remark]:
    console = settings.console
    if console is None:
        return
    if not console.approvals:
        yield (
            ("console", "approvals"),
            "is empty: one person alone can give a customer's account to somebody else, and nobody has to agree; name "
            '"permit-reissue" at least, as soon as there are two',
        )
    if console.public_origin.startswith("https:") and not (console.tls_certificate or console.trusted_proxies):
        yield (
            ("console", "trusted_proxies"),
            "names nobody, so all that comes through the proxy in front counts as one address, in the audit trail too, "
            f"and is answered with 421 unless the proxy passes on the Host {urlsplit(console.public_origin).netloc}; "
            "write the proxy's address",
        )


def _risks_of_audit(settings: Settings) -> Iterator[Remark]:
    """Files of the seals that cannot be used now: logins go on without them."""
    audit = settings.audit
    if audit is None:
        return
    try:
        read_seal_key(audit.seal_key_file)
    except KeyProblem as problem:
        yield ("audit", "seal_key_file"), f"cannot be used, so nothing is sealed: {problem}"
    if audit.seal_copy is None:
        text = "is left out: a trail whose end was cut off is not missed; name a file on another disk or machine"
        yield ("audit", "seal_copy"), text
        return
    try:
        SealCopy(audit.seal_copy).check()
    except OSError as error:
        text = f"{audit.seal_copy} cannot be written, so no seal is copied: {error.strerror}"
        yield ("audit", "seal_copy"), text + _HELPS.get(error.errno or 0, "")


def _hashes_well(password: PasswordSettings) -> bool:
    return any(password.memory_kib >= memory and password.time_cost >= passes for memory, passes in _OWASP_MINIMUM)


def shows_secrets(path: Path, settings: Settings, sources: SourceMap) -> bool:
    """Whether the file holds a secret shared over RADIUS and every user may read it. Raises OSError."""
    places: list[Location] = [("radius", "clients", index, "secret") for index in range(len(settings.radius.clients))]
    places += [("upstreams", index, "secret") for index in range(len(settings.upstreams))]
    held = any((sources.exactly(place) or "").startswith(f"{path}:") for place in places)
    return held and bool(path.stat().st_mode & stat.S_IROTH)


CHECKS: Checks[Settings] = Checks(given_twice, problems, risks, shows_secrets)
