"""Every example of README and docs is fed to the program it is for: here, or by the test that the table names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from otp_core.settings import ConfigProblems
from sekisho.settings import load
from tests.ldap.certificates import Authority

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]

FED_BY = {
    r"home_server sekisho \{|Post-Proxy-Type ": "tests/journeys/test_radius_freeradius.py",
    r"make (demo|install|dev|compiled)": "tests/test_readme.py",
    r"PROVISIONING_URL = ": "tests/web/test_vip_access.py",
    r"make -C pam_module": "tests/pam/test_module.py",
    r"\$ echo |Received Access-Reject|\.venv/bin/sekisho --config demo": "tests/journeys/test_demo.py",
    r"sekisho pam-offline": "tests/pam/test_offline.py",
    r"eap \{|server inner-tunnel \{": "tests/upstreams/test_eap.py",
    r"auth +required +pam_sss": "tests/pam/test_first_factor.py",
    r"scrape_configs:": "tests/journeys/test_metrics.py",
    r"rule_files:": "tests/test_alert_rules.py",
    r"ok    directory ": "tests/ldap/test_doctor.py",
    r"verdict door=radius": "tests/journeys/test_verdict_lines.py",
    r"client sekisho \{|update reply \{": "tests/upstreams/freeradius.py",
    r"client: +ib-gateway": "tests/upstreams/test_shadow.py",
    r"ok    192\.0\.2\.20": "tests/upstreams/test_page.py",
}
"""How a block begins, and who feeds it. Settings are fed below."""

NO_PROGRAM_HERE = {r"aaa-server SEKISHO protocol radius": "a Cisco"}
"""Blocks for programs that no Debian has."""

WHOLE_PAGES = {
    "docs/api.md": "tests/web/test_api_page.py",
    "docs/audit.md": "tests/journeys/test_audit_page.py",
    "docs/operations.md": "tests/journeys/test_operations_page.py",
    "docs/imports.md": "tests/core/test_imports_page.py",
    "docs/postgresql.md": "tests/journeys/test_patroni_soak.py",
    "docs/syslog.md": "tests/syslog/test_syslog.py",
    "docs/webhooks.md": "tests/webhooks/test_webhooks.py",
}
"""Pages whose every block is fed by one test."""


def blocks(page: str) -> list[str]:
    """The indented blocks and the fenced ones of a page, without their indent and fences."""
    text = (ROOT / page).read_text()
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return [re.sub(r"^ {4}", "", one.strip("\n"), flags=re.MULTILINE) for one in [*indented, *fenced] if one.strip()]


EXAMPLES = [(page, block) for page in PAGES if page not in WHOLE_PAGES for block in blocks(page)]


def is_settings(block: str) -> bool:
    return bool(re.match(r"\[+[a-z_.]+\]+\s*(#.*)?$", block.splitlines()[0]))


@pytest.mark.parametrize(("page", "block"), EXAMPLES, ids=lambda text: text.splitlines()[0][:40])
def test_every_example_is_fed_to_the_program_it_is_for(page: str, block: str, tmp_path: Path) -> None:
    if is_settings(block):
        feed_settings(block, tmp_path)
    elif not any(re.match(begin, block) for begin in NO_PROGRAM_HERE):
        fed_by = [test for begin, test in FED_BY.items() if re.match(begin, block)]
        assert len(fed_by) == 1, f"{page}: which program is this block for?\n{block}"
        assert (ROOT / fed_by[0]).is_file()


def test_whole_pages_are_fed_by_tests_that_read_them() -> None:
    for page, test in WHOLE_PAGES.items():
        assert blocks(page)
        assert Path(page).name in (ROOT / test).read_text()


def feed_settings(block: str, folder: Path) -> None:
    """To the reader of the settings, with the files that they name."""
    for path in re.findall(r'^certificate = "(/[^"]+)\.pem"', block, re.MULTILINE):  # with its key beside it
        certificate, key = Authority(folder, "of-clients").issue(Path(path).name, "bank.example")
        key.chmod(0o600)
        block = block.replace(f"{path}.pem", str(certificate)).replace(f"{path}.key", str(key))
    for path in re.findall(r'ca_file = "(/[^"]+\.pem)"', block):
        block = block.replace(path, str(Authority(folder, Path(path).stem).file))
    for path in re.findall(r'"(/(?:etc|var)/[^"]+\.(?:secret|key|password))"', block):
        file = folder / Path(path).name
        file.write_text("c29tZS1zZWNyZXQtb2YtdGhpcnR5LXR3by1vY3RldHM=\n")
        file.chmod(0o600)
        block = block.replace(path, str(file))
    if "[store]" not in block:
        block = f'[store]\nurl = "sqlite:////var/lib/s.db"\nmaster_key_file = "{folder}/master.key"\n\n{block}'
    settings = folder / "sekisho.toml"
    settings.write_text(block + "\n")
    settings.chmod(0o600)
    try:
        loaded = load(settings, environment={})
    except ConfigProblems as problems:
        pytest.fail(f"{problems}\n{block}")
    # The page says itself how weak MS-CHAP is; and which PAM services there are, is the machine's affair.
    assert not [one for one in loaded.warnings if not one.key.endswith((".ms_chap", ".service"))], block


@pytest.mark.parametrize("unit", sorted(path.name for path in (ROOT / "config" / "systemd").iterdir()))
def test_systemd_understands_every_line_of_the_units(unit: str, tmp_path: Path) -> None:
    for path in (ROOT / "config" / "systemd").iterdir():
        text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if str(tmp_path) in line or unit in line] == []
    assert said.returncode == 0, said.stderr
