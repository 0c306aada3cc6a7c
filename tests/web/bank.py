"""The sample bank as a process beside a server under test, and what a customer does at its pages."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.sekisho import SECRET

DEMO_BANK = Path(__file__).parent.parent.parent / "examples" / "demo_bank"
BOTH = "\n".join(
    [
        '[radius.clients.reply_messages]\nchallenge = "コードを入力してください。\\nPlease enter the code."',
        'challenge_again = "もう一度、新しいコードを。\\nOnce more, a new code."',
        'reject = "お断りします。\\nWe are sorry."',
        "",
    ]
)
"""The end of a client's table: its messages in both languages, as the bank wants them."""
SAID = {
    "ja": ("コードを入力してください。", "もう一度、新しいコードを。", "お断りします。"),
    "en": ("Please enter the code.", "Once more, a new code.", "We are sorry."),
}


@contextlib.contextmanager
def bank_beside(folder: Path, *ports: int, secret: str = SECRET, more: tuple[str, ...] = ()) -> Iterator[str]:
    """Its address. ``ports``: of the RADIUS servers, in the order in which they are asked."""
    secret_file = folder / "bank.secret"
    secret_file.write_text(secret)
    servers = [word for port in ports for word in ("--radius", f"127.0.0.1:{port}")]
    command = [sys.executable, str(DEMO_BANK), "--listen", "127.0.0.1:0", *servers]
    process = subprocess.Popen(
        [*command, "--secret-file", str(secret_file), "--wait", "15", *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("demo bank: http://localhost:"), line
        yield line.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def log_in(page: Page, contract_id: str, password: str) -> None:
    page.locator("#contract_id").fill(contract_id)
    page.locator("#password").fill(password)
    page.locator("form[action='/login'] button").click()


def enter_code(page: Page, code: str) -> None:
    page.locator("#code").fill(code)
    page.locator("form[action='/code'] button").click()


def is_inside(page: Page, contract_id: str) -> None:
    expect(page.locator("table")).to_be_visible()
    expect(page.locator("main strong").first).to_have_text(contract_id)


def is_told(page: Page, text: str) -> None:
    expect(page.locator("[role=alert]")).to_contain_text(text)
