"""EAP-TTLS with PAP inside, as docs/upstreams.md has it: eapol_test is the device, FreeRADIUS ends the tunnel in front
and forwards to Sekisho in mode append, which asks a FreeRADIUS behind about the password. And MS-CHAPv2 inside.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from tests.ldap.certificates import Authority
from tests.radius.freeradius import FRONT_SECRET, readme_homes
from tests.radius.tools import oath, program
from tests.sekisho import PASSWORD, Customer, Sekisho, client_table, free_port
from tests.upstreams.freeradius import FreeRadius, block_of_page, freeradius, settings_of
from tests.upstreams.test_page import served


class _Text(Template):
    """Placeholders begin with @, because FreeRADIUS's configuration uses $ and %."""

    delimiter = "@"


_CONFIG = _Text("""
name = radiusd
confdir = @folder
logdir = @folder
run_dir = @folder
max_request_time = 30
cleanup_delay = 5
proxy_requests = yes
log {
	destination = stdout
	auth = no
}
security {
	reject_delay = 0
	status_server = no
}
thread pool {
	start_servers = 1
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 4
}
modules {
@eap
}
proxy server {
	default_fallback = no
}
@homes
client gateway {
	ipaddr = 127.0.0.1
	secret = @secret
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @port
	}
	authorize {
		eap
	}
	authenticate {
		eap
	}
	post-proxy {
		eap
	}
}
@inner
""")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("upstream")) as one:
        yield one


@pytest.fixture(scope="module")
def sekisho(upstream: FreeRadius, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    with served(tmp_path_factory.mktemp("sekisho"), "front", upstream.port) as one:
        yield one


@contextlib.contextmanager
def front(folder: Path, home: int) -> Iterator[tuple[int, Authority]]:
    """FreeRADIUS with the page's module and virtual server; its port, and who has signed its certificate."""
    authority = Authority(folder)
    certificate, key = authority.issue("wlan", "wlan.bank.example")
    eap = block_of_page("eap {")
    for name, file in (("wlan.key", key), ("wlan.pem", certificate)):
        shown = f"/etc/freeradius/3.0/certs/{name}"
        assert eap.count(shown) == 1
        eap = eap.replace(shown, str(file))
    port, log = free_port(), folder / "front.log"
    text = _CONFIG.substitute(
        folder=folder,
        port=port,
        secret=FRONT_SECRET,
        eap=eap,
        inner=block_of_page("server inner-tunnel {"),
        homes=readme_homes(home, window=6, zombie=40),
    )
    (folder / "radiusd.conf").write_text(text)
    (folder / "radiusd.conf").chmod(0o600)
    command = [program("freeradius"), "-f", "-x", "-x", "-l", "stdout", "-n", "radiusd", "-d", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 20
        while "Ready to process requests" not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-4000:]
            time.sleep(0.05)
        yield port, authority
    finally:
        process.terminate()
        process.wait(10)


def device(folder: Path, port: int, authority: Authority, one: Customer, text: str, inside: str = "PAP") -> bool:
    """Whether eapol_test gets in."""
    network = folder / "network.conf"
    network.write_text(
        f"""network={{
    key_mgmt=WPA-EAP
    eap=TTLS
    identity="{one.contract_id}"
    anonymous_identity="anonymous"
    password="{text}"
    phase2="auth={inside}"
    ca_cert="{authority.file}"
    domain_match="wlan.bank.example"
}}
"""
    )
    where = ("-a", "127.0.0.1", "-p", str(port), "-s", FRONT_SECRET)
    command = [program("eapol_test"), "-c", str(network), *where, "-t20"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    said = done.stdout.decode(errors="replace").rstrip().splitlines()
    assert said and said[-1] in ("SUCCESS", "FAILURE"), said[-20:]
    return said[-1] == "SUCCESS"


def test_a_device_gets_in_with_password_and_code_in_one_and_once(
    tmp_path: Path, sekisho: Sekisho, upstream: FreeRadius
) -> None:
    with front(tmp_path, sekisho.port) as (port, authority):
        one = sekisho.customer(password="")
        code = oath(one)
        assert not device(tmp_path, port, authority, one, "wrong" + code)
        assert device(tmp_path, port, authority, one, PASSWORD + code)
        assert not device(tmp_path, port, authority, one, PASSWORD + code)
        assert [row.reason for row in sekisho.audit(one.contract_id, "login.")] == [
            "wrong password", "right code", "reused code",
        ]  # fmt: skip
        assert len(upstream.asked(one.contract_id)) == 3


def test_ms_chap_inside_is_passed_on_and_the_device_believes_the_answer(tmp_path: Path, upstream: FreeRadius) -> None:
    clients = client_table("front", "127.0.0.0/8", "password", first_factor='"core-passwords"', ms_chap=True)
    sekisho = Sekisho(tmp_path, clients=clients, more=settings_of(upstream.port)).start()
    try:
        one, before = sekisho.customer(password=""), upstream.log_text().count("MS-CHAP2-Response = ")
        with front(tmp_path, sekisho.port) as (port, authority):
            assert device(tmp_path, port, authority, one, PASSWORD, "MSCHAPV2")
            assert not device(tmp_path, port, authority, one, "wrong", "MSCHAPV2")
        assert [row.reason for row in sekisho.audit(one.contract_id, "login.")] == [
            "password right, code not given yet", "wrong password",
        ]  # fmt: skip
        assert upstream.log_text().count("MS-CHAP2-Response = ") >= before + 2
    finally:
        sekisho.close()
