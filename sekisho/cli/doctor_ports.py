"""What `sekisho doctor` says about the addresses that the doors and the metrics listen at: it tries each, and names who
has it. It changes nothing.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState
from sekisho.cli.port_holders import Holder, holders

if TYPE_CHECKING:
    from otp_core.settings import Address
    from sekisho.settings import Settings

_ANSWER_SECONDS = 8.0
_MOST_OCTETS = 64 * 1024


def examine_ports(settings: Settings, store: Path | None, *, node_runs: bool = False) -> Iterator[CheckResult]:
    """Every address of the settings. ``store``: the store's file, if it is one. ``node_runs``: a store that is none is
    served by a server of this machine."""
    served = node_runs or _is_served(store)
    if settings.radius.clients:
        for address in settings.radius.listen:
            yield from _port("udp", address, store, served=served)
    for section in (settings.web, settings.soft_token, settings.console, settings.api, settings.metrics):
        if section is not None:
            yield from _port("tcp", section.listen, store, served=served)
    if settings.pam is not None:
        yield _socket(settings.pam.socket, served=served)
    if settings.metrics is None:
        yield CheckResult(CheckState.SKIP, "metrics", "are off: no [metrics] section")
    elif not served:
        yield CheckResult(CheckState.SKIP, "metrics", "not asked: no server runs")
    elif settings.metrics.listen.port:
        yield _metrics(settings.metrics.listen)


def _is_served(store: Path | None) -> bool:
    from otp_core.model import StoreUnavailable
    from otp_core.store.sqlite.outside import is_served

    try:
        return store is not None and store.is_file() and is_served(store)
    except (StoreUnavailable, OSError):
        return False


def _port(kind: str, address: Address, store: Path | None, *, served: bool) -> Iterator[CheckResult]:
    """Whether it can be bound, and if not, who has it."""
    if not address.port:
        return
    name = f"port {address} {kind}"
    error = _bind(kind, address)
    if error is None:
        if served:
            text = "is free although a server runs: is it one with other settings, or with other doors (--doors)?"
            yield CheckResult(CheckState.WARN, name, text)
        else:
            yield CheckResult(CheckState.OK, name, "can be bound; no server runs")
    elif error.errno == errno.EADDRINUSE:
        yield _taken(name, holders(kind, address.host, address.port, store))
    elif error.errno in (errno.EACCES, errno.EPERM):
        text = "cannot be tried by this user: run this as root, or as the user that the server runs as"
        yield CheckResult(CheckState.WARN, name, text)
    else:
        text = f"cannot be bound: {error.strerror}; is this an address of this machine?"
        yield CheckResult(CheckState.WARN, name, text)


def _bind(kind: str, address: Address) -> OSError | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    type_ = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, type_) as probe:
            if kind == "tcp":  # as the server: what an ended connection left behind is no obstacle
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                only = kind == "udp" or address.host != "::"
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            probe.bind(address.for_socket())
    except OSError as error:
        return error
    return None


def _taken(name: str, found: list[Holder]) -> CheckResult:
    others = [one for one in found if not one.ours]
    if others:
        whose = ", ".join(f"{one.name} (pid {one.pid})" for one in others)
        text = f"is held by {whose}, which is no server of this store: stop it, or write another port"
        return CheckResult(CheckState.FAIL, name, text)
    if found:
        whose = ", ".join(f"{one.name} (pid {one.pid})" for one in found)
        return CheckResult(CheckState.OK, name, f"is held by this store's server: {whose}")
    text = "is in use, and this user may not see by whom: run this as root, or as the user that the server runs as"
    return CheckResult(CheckState.WARN, name, text)


def _socket(path: Path, *, served: bool) -> CheckResult:
    """The PAM door's: whether somebody answers there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except PermissionError:
            return CheckResult(CheckState.WARN, "pam socket", f"{path} cannot be tried by this user: run this as root")
        except OSError as error:
            if not served:
                return CheckResult(CheckState.SKIP, "pam socket", f"{path} not tried: no server runs")
            text = f"{path}: {error.strerror or error}: does the server that runs have the door pam (--doors)?"
            return CheckResult(CheckState.FAIL, "pam socket", text)
    return CheckResult(CheckState.OK, "pam socket", f"a connection to {path} opens")


def _metrics(listen: Address) -> CheckResult:
    """What /readyz says."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104  asked, not listened at
    asked = http.client.HTTPConnection(host, listen.port, timeout=_ANSWER_SECONDS)
    try:
        asked.request("GET", "/readyz")
        answer = asked.getresponse()
        found = json.loads(answer.read(_MOST_OCTETS))
        reasons = [str(reason) for reason in found["reasons"]]
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError) as error:
        cause = getattr(error, "strerror", None) or type(error).__name__
        text = f"http://{listen}/readyz does not answer as ours does: {cause}"
        return CheckResult(CheckState.FAIL, "metrics", text)
    finally:
        asked.close()
    if answer.status == 200 and not reasons:
        return CheckResult(CheckState.OK, "metrics", f"http://{listen}/readyz says that logins can be answered")
    return CheckResult(CheckState.FAIL, "metrics", f"http://{listen}/readyz: {'; '.join(reasons) or answer.status}")
