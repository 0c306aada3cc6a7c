"""The reference number on a customer's page: staff find with it what was done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.reference import reference_of
from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho
from tests.web.portal import Portal, PortalClient, portal


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("reference")) as served:
        yield served


@pytest.mark.parametrize("language", ["ja", "en"])
def test_staff_find_an_act_by_the_number_on_the_customers_page(opened: Portal, language: str) -> None:
    at, one, client = CommandLine(opened.sekisho), opened.sekisho.customer(), PortalClient(opened, language=language)
    client.sign_in(one, "suspend")
    done = client.post("/suspend/code", code=one.code())
    found = re.search(r"<dt>(?:受付番号|Reference number)</dt><dd[^>]*>([A-Z0-9]{8})</dd>", done.text)
    assert found, done.text
    rows = [json.loads(line) for line in at.run("audit", "--reference", found[1], "--json").out.splitlines()]
    assert [row["event"] for row in rows if row["customer"] == one.contract_id] == ["otp.suspended"]
    text = at.run("audit", "--reference", f"{found[1][:4].lower()}-{found[1][4:]}").out
    assert one.contract_id in text and all(found[1] in line for line in text.splitlines())
    assert at.run("audit", "--reference", str(rows[0]["id"]), "--json").out
    assert at.run("audit", "--reference", found[1], "--customer", "somebody-else").out == ""
    assert at.run("audit", "--reference", found[1], "--until", "2h").out == ""


def test_a_command_tells_the_same_number_as_the_mail(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path)
    try:
        at = CommandLine(sekisho)
        one = at.customer()
        said = at.run("customer", "lock", one.contract_id).out
        (row,) = sekisho.audit(one.contract_id, "customer.locked")
        assert said.rstrip().endswith(f"(reference {reference_of(row.id)})")
    finally:
        sekisho.close()


@pytest.mark.parametrize("typed", ["", "K7MX", "K7MX4PQ0", "é" * 8, "9" * 30])
def test_what_cannot_be_a_reference_is_said_with_the_right_form(tmp_path: Path, typed: str) -> None:
    sekisho = Sekisho(tmp_path)
    try:
        said = CommandLine(sekisho).run("audit", "--reference", typed, code=2).err
        assert "8 letters and digits" in " ".join(said.split())
    finally:
        sekisho.close()
