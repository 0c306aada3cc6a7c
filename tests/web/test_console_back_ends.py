"""The back ends on the dashboard of a real server: one that answers, one that is slow, two that are down."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from otp_core.model import Role
from tests.ldap.slapd import PASSWORD, dn_of, slapd
from tests.radius_peer import access_request
from tests.sekisho import SECRET, Sekisho, client_table, free_port
from tests.upstreams.raw import ACCEPT, Asked, RawUpstream
from tests.upstreams.test_trouble import tables
from tests.web.console import ConsoleClient, console


class Row(NamedTuple):
    now: str
    questions: str
    unanswered: str
    median: str
    slow: str


def rows(client: ConsoleClient) -> dict[str, Row]:
    """By back end, as the dashboard shows them."""
    text = client.get("/dashboard").text.partition("<h2>Back ends</h2>")[2].partition("</table>")[0]
    found = {}
    for row in re.findall("<tr>(.*?)</tr>", text.partition("<tbody>")[2], re.S):
        cells = [re.sub("<[^>]*>", " ", cell).split() for cell in re.findall("<td.*?>(.*?)</td>", row, re.S)]
        found[cells[0][0]] = Row(*(" ".join(cell) for cell in cells[1:]))
    return found


def slowly(asked: Asked) -> Iterable[bytes]:
    time.sleep(0.11)
    return [asked.reply(ACCEPT)]


def send(sekisho: Sekisho, client: str, customer: str, password: str) -> None:
    """A login that nobody waits for, from a socket of its own: so both workers get some."""
    packet = access_request(customer, password, secret=SECRET, more=[(32, client.encode())])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        gateway.sendto(packet.octets, ("127.0.0.1", sekisho.port))


def test_each_has_its_figures_of_all_processes_and_whether_it_answers(tmp_path: Path) -> None:
    (tmp_path / "slapd").mkdir()
    with RawUpstream() as quick, RawUpstream(slowly) as slow, slapd(tmp_path / "slapd") as directory:
        ldap = '[[first_factors]]\nname = "{0}"\ntype = "ldap"\nurls = ["{1}"]\ndn_template = "{2}"\n'
        template, nowhere = dn_of("{user}"), f"ldap://127.0.0.1:{free_port()}"
        other = tables(quick.port, name="quick") + tables(slow.port, name="slow", timeout=4.0, tries=1)
        other += tables(free_port(), name="down", timeout=0.2)
        other += ldap.format("people", directory.plain_url, template) + ldap.format("gone", nowhere, template)
        factors = {name: f"{name}-passwords" for name in ("quick", "slow", "down")} | {
            "people": "people",
            "gone": "gone",
        }
        other += "".join(
            client_table(name, "127.0.0.0/8", "challenge", nas_identifier=f'"{name}"', first_factor=f'"{factor}"')
            for name, factor in factors.items()
        )
        with console(tmp_path, other=other, workers=2) as bank:
            client = bank.client(Role.AUDITOR)
            assert [row.now.split()[0] for row in rows(client).values()] == ["not"] * 5, "asked yet"
            for number in range(8):
                send(bank.sekisho, "quick", f"kaiin{number}", "a password")
            for name in ("slow", "slow", "down", "gone"):
                send(bank.sekisho, name, "kaiin1", "a password")
            send(bank.sekisho, "people", "taro", PASSWORD)
            wanted = {
                "quick": ("8", "0"),
                "slow": ("2", "0"),
                "down": ("1", "1"),
                "people": ("1", "0"),
                "gone": ("1", "1"),
            }
            end = time.monotonic() + 30
            found = rows(client)
            while {name: row[1:3] for name, row in found.items()} != wanted:
                assert time.monotonic() < end, found
                time.sleep(0.2)
                found = rows(client)
            assert found["quick"].now == f"answers 127.0.0.1:{quick.port}" and found["quick"].median.startswith("≤ ")
            assert found["people"].now.startswith("answers") and found["people"].slow.startswith("≤ ")
            assert found["slow"].median not in (
                "-",
                *(f"≤ {bound} ms" for bound in ("1", "2.5", "5", "10", "25", "50", "100")),
            )
            for name in ("down", "gone"):  # that the other worker and the pages have not asked it says nothing
                assert found[name].now.startswith("does not answer 127.0.0.1")
                assert (found[name].median, found[name].slow) == ("-", "-")
            text = client.get("/dashboard").text
            assert '<a href="/audit?actor=slow">slow</a>' in text and "slow-passwords" in text
            assert client.get("/audit?actor=slow").status == 200
            assert len(text.encode()) < 100_000
