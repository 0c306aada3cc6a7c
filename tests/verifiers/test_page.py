"""The settings of docs/upstreams-vip.md, against the servers that they are for; and its table of what VIP says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.otp import Fit
from otp_core.settings import VerifierSettings
from otp_core.verifier import CodeQuestion
from otp_core.verifier.vip.statuses import OUTCOMES
from sekisho.settings import load
from sekisho.verifiers import Patterns, make_vip
from tests.core.settings_files import STORE, private, written
from tests.test_examples import ROOT, blocks
from tests.verifiers.vip_stub import Running, running_vip

PAGE = "docs/upstreams-vip.md"


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


def sections(folder: Path, vip: Running, name: str) -> tuple[VerifierSettings, ...]:
    [block] = [one for one in blocks(PAGE) if f'name = "{name}"' in one]
    replaced = {
        "https://userservices-auth.vip.symantec.com/vipuserservices": vip.vip.url,
        "/etc/sekisho/vip.pem": vip.certificate,
        "/etc/sekisho/vip.key": vip.key,
        "/etc/sekisho/vip-ca.pem": vip.ca_file,
        "/etc/sekisho/vip-gateway.secret": private(folder / "secret", "kT7v-Zq0b9xWmY3s"),
    }
    for before, after in replaced.items():
        block = block.replace(before, str(after))
    loaded = load(written(folder, f"{STORE}{block}\n"), environment={})
    assert not loaded.warnings
    return loaded.settings.verifiers


def test_vip(tmp_path: Path, vip: Running) -> None:
    (section,) = sections(tmp_path, vip, "vip")
    app = vip.vip.credential("SYMC12345678")

    async def scene() -> Fit:
        verifier = make_vip(section)
        try:
            return (await verifier.verify(CodeQuestion("SYMC12345678", app.code(), "taro"))).fit
        finally:
            await verifier.client.close()

    assert asyncio.run(asyncio.wait_for(scene(), 20)) is Fit.FITS
    assert Patterns([section])("VSMT00000001") == "vip"


def test_a_gateway(tmp_path: Path, vip: Running) -> None:
    (section,) = sections(tmp_path, vip, "eg")
    assert (section.type, section.upstream) == ("radius", "vip-gateway")


def test_the_table_of_the_page_names_every_status_of_ours() -> None:
    text = (ROOT / PAGE).read_text()
    table = text.partition("| VIP says |")[2].partition("\n\n")[0].lower()
    for status, detail in OUTCOMES:
        assert status == "6002" or status in table
        assert detail in ("", "*") or detail in table
    named = set(re.findall(r"\b(?:0000|60[0-9a-f]{2}|4[0-9a-f]{3})\b", table))
    assert named <= {one for pair in OUTCOMES for one in pair}
