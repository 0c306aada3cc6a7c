"""The arrangements of docs/upstreams.md, with their settings as they are there, against the servers they are for."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.radius.freeradius import FRONT_SECRET, proxy
from tests.radius.tools import heard, login, oath, radclient, received
from tests.sekisho import PASSWORD, SECRET, Sekisho
from tests.upstreams.freeradius import ATTRIBUTES, FreeRadius, block_of_page, freeradius
from tests.upstreams.freeradius import SECRET as UPSTREAM_SECRET
from tests.upstreams.ms_chap_peer import device
from tests.upstreams.raw import RawUpstream

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("upstream"), attributes=ATTRIBUTES) as one:
        yield one


def tables(client: str) -> str:
    """The page's settings with this client."""
    text = Path("docs/upstreams.md").read_text()
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    (block,) = [one for one in blocks if f'name = "{client}"' in one]
    return re.sub(r"^ {4}", "", block.strip("\n"), flags=re.MULTILINE)


@contextlib.contextmanager
def served(folder: Path, client: str, *ports: int, upstreams: tuple[str, ...] = ("core",)) -> Iterator[Sekisho]:
    """A server with the page's settings: its addresses and files replaced, and nothing else."""
    block = tables(client)
    secrets = {**dict.fromkeys(upstreams, UPSTREAM_SECRET), client: SECRET}
    for name, secret in secrets.items():
        file = folder / f"{name}.secret"
        file.write_text(secret)
        file.chmod(0o600)
        assert block.count(f"/etc/sekisho/{name}.secret") == 1
        block = block.replace(f"/etc/sekisho/{name}.secret", str(file))
    for number, port in zip((20, 21), ports, strict=False):
        block = block.replace(f"192.0.2.{number}:1812", f"127.0.0.1:{port}")
    block = re.sub(r'network = "[0-9.]+"', 'network = "127.0.0.0/8"', block)
    assert "192.0.2" not in block
    head, _, clients = block.partition("[[radius.clients]]")
    one = Sekisho(folder, clients=f"[[radius.clients]]{clients}\n", more=head)
    try:
        yield one.start()
    finally:
        one.close()


def test_gateway_sekisho_radius(tmp_path: Path, upstream: FreeRadius) -> None:
    with RawUpstream() as second, served(tmp_path, "vpn", upstream.port, second.port) as sekisho:
        one = sekisho.customer(password="")
        first = radclient(sekisho.port, login(one.contract_id, PASSWORD))
        assert heard(first) == CHALLENGE
        printed = radclient(sekisho.port, login(one.contract_id, oath(one), received(first, "State")[0]))
        assert heard(printed) == ACCEPT
        assert received(printed, "Class") == ["0x6f6e65", "0x74776f"]
        assert received(printed, "MS-MPPE-Send-Key") == ["0x00112233445566778899aabbccddeeff"]
        assert heard(radclient(sekisho.port, login(one.contract_id, "wrong"))) == REJECT
        assert second.logins == []


def test_freeradius_in_front(tmp_path: Path, upstream: FreeRadius) -> None:
    with served(tmp_path, "front", upstream.port) as sekisho, proxy(tmp_path / "front", sekisho.port) as front:
        one = sekisho.customer(password="")
        own = ",Proxy-State=0x00ff,Calling-Station-Id=203.0.113.7"
        printed = radclient(front.port, login(one.contract_id, PASSWORD + oath(one)) + own, secret=FRONT_SECRET)
        assert heard(printed) == ACCEPT
        assert received(printed, "Class") == ["0x6f6e65", "0x74776f"]
        assert received(printed, "Filter-Id") == ["ib"]
        assert received(printed, "Proxy-State") == ["0x00ff"]
        packet = upstream.asked(one.contract_id)[-1]
        states = re.findall(r"Proxy-State = (\S+)", packet)
        assert (states[0], len(states)) == ("0x00ff", 3), "the gateway's, then that of the one in front, then ours"


def test_realms(tmp_path: Path, upstream: FreeRadius) -> None:
    with contextlib.ExitStack() as stack:
        branches = stack.enter_context(RawUpstream())
        ports = upstream.port, branches.port
        sekisho = stack.enter_context(served(tmp_path, "gateway", *ports, upstreams=("bank", "branches")))
        one, before = sekisho.customer(password=""), upstream.log_text().count("Received Access-Request")
        assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD))) == CHALLENGE
        # Both are contract IDs of nobody here; who was asked, and by what name, is what counts.
        radclient(sekisho.port, login(f"{one.contract_id}@bank.example", PASSWORD))
        radclient(sekisho.port, login(f"BRANCH\\\\{one.contract_id}", PASSWORD))
        assert upstream.log_text().count("Received Access-Request") == before + 2
        assert [asked.values(1) for asked in branches.logins] == [[f"{one.contract_id}@branches.example".encode()]]
        radclient(sekisho.port, login(f"{one.contract_id}@nowhere", PASSWORD))
        sekisho.wait_for_log("the realm 'nowhere' in a User-Name is none of the client's")


def test_ms_chap(tmp_path: Path, upstream: FreeRadius) -> None:
    with served(tmp_path, "wlan", upstream.port) as sekisho:
        one = sekisho.customer(password="")
        hashed = device(one.contract_id, PASSWORD)
        first = radclient(sekisho.port, hashed.attributes)
        assert heard(first) == CHALLENGE
        printed = radclient(sekisho.port, login(one.contract_id, oath(one), received(first, "State")[0]))
        assert heard(printed) == ACCEPT
        assert received(printed, "MS-CHAP2-Success") == ["0x" + hashed.success.hex()]
        assert "MS-CHAPv2 of wlan is WEAK outside TLS" in sekisho.log_text(), "at every start"


def test_the_lines_of_the_command_are_those_that_it_writes(tmp_path: Path) -> None:
    shown = block_of_page("ok    192.0.2.20").splitlines()
    with RawUpstream() as well, RawUpstream() as lying:
        lying.secret = b"another"
        with served(tmp_path, "vpn", well.port, lying.port) as sekisho:
            base = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "upstream", "test", "core"]
            command = [*base, "--user", "1234567", "--password-stdin"]
            done = subprocess.run(command, input=b"himitsu\n", capture_output=True, timeout=60, check=False)
            said = done.stdout.decode().replace(f"127.0.0.1:{well.port}", "192.0.2.20:1812")
            said = said.replace(f"127.0.0.1:{lying.port}", "192.0.2.21:1812")
    lines = re.sub(r"after [0-9.]+ ms", "after N ms", said).splitlines()
    assert [re.sub(r"after [0-9.]+ ms", "after N ms", line) for line in shown] == lines[:3]
