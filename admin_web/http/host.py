"""Whether a request asks for this site by its name. Pure: no request, no settings.

A browser sends the name that its address bar shows. Another name there means another site's page, whose name was made
to lead here after it was loaded (DNS rebinding): to the browser that page is of the same origin as ours, and would read
what only this network may reach. An IP address or ``localhost`` cannot be made to lead elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

_PORT = re.compile(r":[0-9]{0,5}")
_LONGEST = 262
"""Characters of a Host header: a name has 253 (RFC 1035 section 2.3.4), a trailing dot and a port are added."""


def is_own_host(hosts: Sequence[str], origin: str) -> bool:
    """Whether the Host headers of a request (RFC 9110 section 7.2) name the host of ``origin``, in any case and with
    any port: a tunnel has another one. An IP address and ``localhost`` will do, and so does no Host at all (HTTP/1.0):
    so monitors and proxies ask."""
    if not hosts:
        return True
    if len(hosts) > 1 or len(hosts[0]) > _LONGEST:
        return False
    name = _name(hosts[0])
    return name == urlsplit(origin).hostname or name == "localhost" or _is_address(name)


def _name(host: str) -> str:
    """In lower case, without port, brackets and the dot of the root."""
    end = host.rfind(":")
    if end > host.rfind("]") and _PORT.fullmatch(host, end):
        host = host[:end]
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
