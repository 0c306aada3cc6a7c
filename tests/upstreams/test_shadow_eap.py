"""Shadow mode with what nobody but the old server can check: eapol_test is the device, FreeRADIUS ends its EAP, and
Sekisho stands between. The device holds both to the keys: it fails with one that was hidden wrongly.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest

from tests.ldap.certificates import Authority
from tests.radius.tools import heard, program, radclient, received
from tests.sekisho import PASSWORD, Sekisho, client_table, free_port
from tests.sekisho import SECRET as GATEWAYS
from tests.upstreams.freeradius import SECRET, FreeRadius, freeradius, settings_of
from tests.upstreams.ms_chap_peer import device
from tests.upstreams.test_ms_chap import has_answer
from tests.upstreams.test_shadow import until


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
proxy_requests = no
log {
	destination = stdout
	auth = no
}
security {
	reject_delay = 0
	status_server = yes
}
thread pool {
	start_servers = 1
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 4
}
modules {
	pap {
	}
	mschap {
	}
	eap {
		default_eap_type = ttls
		tls-config tls-common {
			private_key_file = @key
			certificate_file = @certificate
			tls_min_version = "1.2"
			tls_max_version = "1.2"
			fragment_size = 1300
		}
		ttls {
			tls = tls-common
			virtual_server = inner
		}
		peap {
			tls = tls-common
			default_eap_type = mschapv2
			virtual_server = inner
		}
		mschapv2 {
		}
	}
}
client sekisho {
	ipaddr = 127.0.0.1
	secret = @secret
	require_message_authenticator = yes
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
}
server inner {
	authorize {
		update control {
			&Cleartext-Password := "@password"
		}
		mschap
		eap {
			ok = return
		}
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type MS-CHAP {
			mschap
		}
		eap
	}
}
""")


@dataclass
class Between:
    sekisho: Sekisho
    authority: Authority

    def lets_in(self, network: Path, name: str, password: str, kind: str) -> bool:
        """Whether eapol_test gets in. ``kind``: TTLS or PEAP."""
        inside = {"TTLS": "auth=PAP", "PEAP": "auth=MSCHAPV2"}[kind]
        network.write_text(
            f"""network={{
    key_mgmt=WPA-EAP
    eap={kind}
    identity="{name}"
    anonymous_identity="{name}"
    password="{password}"
    phase2="{inside}"
    ca_cert="{self.authority.file}"
}}
"""
        )
        where = ("-a", "127.0.0.1", "-p", str(self.sekisho.port), "-s", GATEWAYS)
        command = [program("eapol_test"), "-c", str(network), *where, "-t40"]
        done = subprocess.run(command, capture_output=True, timeout=90, check=False)
        said = done.stdout.decode(errors="replace").rstrip().splitlines()
        assert said and said[-1] in ("SUCCESS", "FAILURE"), said[-20:]
        return said[-1] == "SUCCESS"


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Between]:
    folder, port = tmp_path_factory.mktemp("old"), free_port()
    authority = Authority(folder)
    certificate, key = authority.issue("wlan", "wlan.bank.example")
    text = _CONFIG.substitute(
        folder=folder, port=port, secret=SECRET, password=PASSWORD, key=key, certificate=certificate
    )
    (folder / "radiusd.conf").write_text(text)
    (folder / "radiusd.conf").chmod(0o600)
    command = [program("freeradius"), "-f", "-x", "-x", "-l", "stdout", "-n", "radiusd", "-d", str(folder)]
    log = folder / "old.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    # Two servers, of which the first is dead: States are then marked, and each round goes to the one that asked.
    more = settings_of(port, timeout=1.0).replace('servers = ["', f'servers = ["127.0.0.1:{free_port()}", "')
    clients = client_table("wlan", "127.0.0.0/8", "append", shadow='"core"')
    sekisho = Sekisho(tmp_path_factory.mktemp("sekisho"), clients=clients, more=more, workers=2)
    try:
        end = time.monotonic() + 60
        while "Ready to process requests" not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-4000:]
            time.sleep(0.05)
        yield Between(sekisho.start(), authority)
    finally:
        sekisho.close()
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("kind", ["TTLS", "PEAP"])
def test_eap_passes_through_shadow_mode_round_by_round_and_its_keys_are_right(
    between: Between, tmp_path: Path, kind: str
) -> None:
    one = between.sekisho.customer()
    assert between.lets_in(tmp_path / "network", one.contract_id, PASSWORD, kind)
    assert not between.lets_in(tmp_path / "network", one.contract_id, "wrong", kind)
    found = until(between.sekisho, "wlan", lambda customers: one.contract_id in customers)
    assert found[one.contract_id]["obstacle"] == "not-compared"
    assert found[one.contract_id]["logins"] == 1
    assert between.sekisho.audit(one.contract_id, "login.") == []


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("mschap")) as one:
        yield one


def test_ms_chap_passes_and_what_answers_it_is_what_the_device_expects(old: FreeRadius, tmp_path: Path) -> None:
    clients = client_table("wlan", "127.0.0.0/8", "append", shadow='"core"')
    sekisho = Sekisho(tmp_path, clients=clients, more=settings_of(old.port))
    try:
        sekisho.start()
        customer = sekisho.customer()
        one = device(customer.contract_id, PASSWORD)
        has_answer(radclient(sekisho.port, one.attributes), one)
        refused = radclient(sekisho.port, device(customer.contract_id, "wrong").attributes)
        assert heard(refused) == "Access-Reject"
        assert "E=691" in received(refused, "MS-CHAP-Error")[0]
        found = until(sekisho, "wlan", lambda customers: customer.contract_id in customers)
        assert found[customer.contract_id]["obstacle"] == "not-compared"
    finally:
        sekisho.close()
