"""Checks of ``[[upstreams]]`` and ``[[first_factors]]`` beside the sections that name them: unknown names, a cycle,
times that do not fit together, and what lets people in unchecked. It changes no setting, and asks no server.
"""

from __future__ import annotations

import difflib
import socket
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from otp_core.model import Mode
from otp_core.settings import Address, FirstFactorSettings, UpstreamSettings
from otp_core.settings.first_factors import LOCAL
from otp_core.settings.repeated import Remark, repeated, tables
from otp_core.settings.sources import SourceMap
from otp_core.settings.toml_lines import Location
from otp_core.settings.values import pasted
from radius_server.realms import RealmSettings, same_realm
from radius_server.settings import ClientSettings
from sekisho.directories import in_clear, problems_of_files
from sekisho.pam_stacks import absence_of, cycle_of

if TYPE_CHECKING:
    from sekisho.settings import Settings

MADE_TYPES = ("local", "none", "radius", "ldap", "pam")
"""Those that can be used."""


class _User(NamedTuple):
    """A section that names a first factor. ``called``: for messages; ``seconds``: for a verdict; ``mode`` None: the
    pages, which ask for the password alone and take no question. ``relay``: whether it wants attributes; ``ms_chap``:
    whether it may send MS-CHAPv2."""

    location: Location
    called: str
    first_factor: str
    seconds: tuple[str, float]
    mode: str | None
    code_is_enough: bool = False
    relay: bool = False
    ms_chap: bool = False


def given_twice(values: dict[str, Any], sources: SourceMap) -> Iterator[Remark]:
    """Names that an earlier entry of the same list has already. ``values`` are not checked yet."""
    for section in ("upstreams", "first_factors"):
        named = tables(values.get(section), (section,))
        yield from repeated([((*at, "name"), entry.get("name")) for at, entry in named], str, sources)


def problems(settings: Settings) -> Iterator[Remark]:
    """What cannot be used."""
    upstreams = {one.name: one for one in settings.upstreams}
    for index, section in enumerate(settings.first_factors):
        here: Location = ("first_factors", index)
        if cycle := cycle_of(section):
            yield (*here, "service"), cycle
        elif section.upstream is not None and section.upstream not in upstreams:
            yield (*here, "upstream"), unknown(section.upstream, upstreams, "[[upstreams]]")
        elif section.type in ("ldap", "pam") and section.name in upstreams:
            yield (*here, "name"), f"{section.name} is the name of an upstream too, and metrics tell them by it"
        if section.type == "ldap":
            yield from (((*here, key), problem) for key, problem in problems_of_files(section))
    yield from _cycles(settings)
    yield from _problems_of_users(settings, upstreams)


def _problems_of_users(settings: Settings, upstreams: dict[str, UpstreamSettings]) -> Iterator[Remark]:
    yield from _problems_of_shadows(settings, upstreams)
    factors = {one.name: one for one in settings.first_factors}
    for user in _users(settings):
        at = (*user.location, "first_factor")
        section = factors.get(user.first_factor)
        if section is None and user.first_factor != LOCAL:
            yield at, unknown(user.first_factor, [LOCAL, *factors], "[[first_factors]]")
        elif section is not None and section.type == "none":
            yield from _unasked(user, at)
        upstream = None if section is None else upstreams.get(section.upstream or "")
        key, seconds = user.seconds
        if upstream is not None and upstream.timeout >= seconds:
            yield (
                ("upstreams", settings.upstreams.index(upstream), "timeout"),
                f"one try takes {upstream.timeout:g} s, and {key} gives up after {seconds:g}: no second try is ever "
                "made; write less",
            )
        if section is not None and section.type == "pam" and section.timeout >= seconds:
            yield (
                ("first_factors", settings.first_factors.index(section), "timeout"),
                f"the stack has {section.timeout:g} s, and {key} gives up after {seconds:g}: nobody would hear of it; "
                "write less",
            )
        if section is not None and section.type == "ldap" and section.timeout >= seconds:
            yield (
                ("first_factors", settings.first_factors.index(section), "timeout"),
                f"a server has {section.timeout:g} s, and {key} gives up after {seconds:g}: the next server is never "
                "asked; write less",
            )
        for key, wanted, text in (
            ("relay", user.relay, "brings attributes"),
            ("ms_chap", user.ms_chap, "can be asked by MS-CHAPv2"),
        ):
            if wanted and (section is None or section.type != "radius"):
                yield (
                    (*user.location, key),
                    f"{user.called} has no RADIUS server behind it: only a first_factor of type radius {text}",
                )


def _problems_of_shadows(settings: Settings, upstreams: dict[str, UpstreamSettings]) -> Iterator[Remark]:
    """Of clients that an old server answers still."""
    seconds = settings.radius.request_seconds
    for index, client in enumerate(settings.radius.clients):
        if client.shadow is None:
            continue
        upstream = upstreams.get(client.shadow)
        if upstream is None:
            yield (
                ("radius", "clients", index, "shadow"),
                unknown(client.shadow, upstreams, "[[upstreams]]"),
            )
        elif upstream.timeout >= seconds:
            yield (
                ("upstreams", settings.upstreams.index(upstream), "timeout"),
                f"one try takes {upstream.timeout:g} s, and radius.request_seconds gives up after {seconds:g}: no "
                "second try is ever made; write less",
            )


def _unasked(user: _User, at: Location) -> Iterator[Remark]:
    if user.mode is None or user.mode == Mode.PASSWORD:
        yield at, f"{user.first_factor} asks nobody, and no code is asked for here: anybody would be let in"
    elif user.mode != Mode.CODE and not user.code_is_enough:
        yield (
            at,
            f"{user.first_factor} asks nobody: if the code alone is to decide for {user.called}, write "
            'without_password = "code" there too',
        )


def risks(settings: Settings) -> Iterator[Remark]:
    """What works, but is weaker or of less use than it looks."""
    factors = {one.name: one for one in settings.first_factors}
    upstreams = {one.name: (index, one) for index, one in enumerate(settings.upstreams)}
    users = list(_users(settings))
    for user in users:
        yield from _risks_of_user(user, factors, upstreams)
    for index, upstream in enumerate(settings.upstreams):
        if not upstream.require_message_authenticator:
            yield (
                ("upstreams", index, "require_message_authenticator"),
                f"{upstream.name} is at risk: its replies can be forged (CVE-2024-3596), an Access-Accept too; turn "
                "Message-Authenticator on there and write true",
            )
        if wrong := pasted(upstream.secret):
            yield ("upstreams", index, "secret"), f"of {upstream.name} {wrong}; its server's is another one otherwise"
        if upstream.source is not None and not _is_of_this_machine(upstream.source):
            yield (
                ("upstreams", index, "source"),
                f"{upstream.source} is no address of this machine: nothing can be sent from it here",
            )
        asked = {one.upstream for one in settings.first_factors} | {one.upstream for one in settings.verifiers}
        asked |= {one.shadow for one in settings.radius.clients}
        if upstream.name not in asked:
            yield (
                ("upstreams", index, "name"),
                f"nobody asks {upstream.name}: no first factor, verifier or client names it",
            )
    for index, section in enumerate(settings.first_factors):
        if section.type == "ldap" and (urls := in_clear(section)):
            yield (
                ("first_factors", index, "urls"),
                f"{urls[0]} is asked WITHOUT TLS: whoever listens on the way has every password; write ldaps://, or "
                "start_tls = true",
            )
        if absence := absence_of(section):
            yield ("first_factors", index, "service"), absence
        if not any(user.first_factor == section.name for user in users):
            yield ("first_factors", index, "name"), f"nobody asks {section.name}: no client, profile or page names it"


def _risks_of_user(
    user: _User, factors: dict[str, FirstFactorSettings], upstreams: dict[str, tuple[int, UpstreamSettings]]
) -> Iterator[Remark]:
    at, section = (*user.location, "first_factor"), factors.get(user.first_factor)
    if user.mode == Mode.CODE and user.first_factor != LOCAL:
        yield at, f"changes nothing in mode code: {user.called} checks the password itself"
    elif section is not None and section.type == "none":
        yield (
            at,
            f"{section.name} asks nobody: NO PASSWORD is checked at {user.called}, and whoever has a customer's token "
            "is that customer; does something in front check the password?",
        )
    if section is None or section.upstream not in upstreams:
        return
    index, upstream = upstreams[section.upstream]
    key, seconds = user.seconds
    if user.relay and not upstream.relay_attributes:
        yield (*user.location, "relay"), f"brings nothing: {upstream.name} has no relay_attributes"
    if upstream.timeout < seconds < upstream.timeout * upstream.tries:
        yield (
            ("upstreams", index, "tries"),
            f"{upstream.tries} tries of {upstream.timeout:g} s take {upstream.timeout * upstream.tries:g} s, and {key} "
            f"gives up after {seconds:g}: the last ones are never made",
        )
    if user.mode is None and upstream.challenges == "relay":
        yield at, f"the pages take no questions of {upstream.name}: who is asked one there cannot sign in"


def _users(settings: Settings) -> Iterator[_User]:
    seconds = ("radius.request_seconds", settings.radius.request_seconds)
    for index, client in enumerate(settings.radius.clients):
        enough = client.without_password == "code"
        here: Location = ("radius", "clients", index)
        named = [(at, one) for at, one in enumerate(settings.radius.realms) if one.first_factor and _has(client, one)]
        # What the client wants of a RADIUS server, the one of a realm may give.
        wants = not any(_is_radius(settings, one.first_factor) for _, one in named)
        relay, ms_chap = client.relay and wants, client.ms_chap and wants
        yield _User(here, client.name, client.first_factor, seconds, client.mode, enough, relay, ms_chap)
        for at, realm in named:
            called = f"{client.name} (realm {realm.name})"
            yield _User(("radius", "realms", at), called, realm.first_factor or LOCAL, seconds, client.mode, enough)
    if settings.pam is not None:
        for index, profile in enumerate(settings.pam.profiles):
            enough, here = profile.without_password == "code", ("pam", "profiles", index)
            of_pam = ("pam.answer_seconds", settings.pam.answer_seconds)
            yield _User(here, profile.name, profile.first_factor, of_pam, profile.mode, enough)
    if settings.web is not None:
        yield _User(("web",), "the pages", settings.web.first_factor, ("the sign-in", _SIGN_IN_SECONDS), None)


def _has(client: ClientSettings, realm: RealmSettings) -> bool:
    return same_realm(realm.name) in map(same_realm, client.realms)


def _is_radius(settings: Settings, first_factor: str | None) -> bool:
    return any(one.name == first_factor and one.type == "radius" for one in settings.first_factors)


_SIGN_IN_SECONDS = 10.0
"""Of the portal's sign-in (admin_web.portal.sign_in.PASSWORD_SECONDS, which imports too much for a check)."""


def _cycles(settings: Settings) -> Iterator[Remark]:
    """Upstream servers that are ourselves: each login would ask for itself, until nobody has time left."""
    if not settings.radius.clients:
        return
    for index, upstream in enumerate(settings.upstreams):
        for at, server in enumerate(upstream.servers):
            for listen in settings.radius.listen:
                if _is_ours(server, listen):
                    yield (
                        ("upstreams", index, "servers", at),
                        f"{server} is where this server listens itself (radius.listen, {listen}): name the server that "
                        "knows the passwords",
                    )


def _is_ours(server: Address, listen: Address) -> bool:
    if not server.overlaps(listen, dual_stack=False):
        return False
    return server.host == listen.host or _is_of_this_machine(server.host)


def _is_of_this_machine(host: str) -> bool:
    """Whether a socket could have this address. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as tried:
            tried.bind(Address(host, 0).for_socket())
    except OSError:
        return False
    return True


def unknown(name: str, known: Collection[str], section: str) -> str:
    """What is said of a name that no entry of the list has."""
    if likely := difflib.get_close_matches(name, known, 1):
        return f"no {section} has the name {name!r}; did you mean {likely[0]!r}?"
    return f"no {section} has the name {name!r}; there {_listed(known)}"


def _listed(names: Collection[str]) -> str:
    if not names:
        return "are none"
    return f"is {next(iter(names))}" if len(names) == 1 else f"are {', '.join(names)}"
