"""What says which node it is from: audit rows of logins and of acts, and lines of the log."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import structlog

from otp_core import logs
from otp_core.model import Accept
from tests.core.bank import STAFF, Bank
from tests.core.batches import code_request, login_batch_of, run_batch


def test_rows_of_logins_and_of_acts_name_the_node_as_it_is_called_then(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        for name in ("web1", "web1-2", None):
            bank.store.node.value = name
            bank.clock.now += 30
            assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]
            bank.desk.customers.lock("taro", STAFF)
            bank.desk.customers.unlock("taro", STAFF)
    found = [(row.event, row.node) for row in bank.audit()][-9:]
    assert found == [
        (event, name)
        for name in ("web1", "web1-2", None)
        for event in ("login.accepted", "customer.locked", "customer.unlocked")
    ]


def test_each_line_of_the_log_names_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    try:
        logs.configure("info", "json")
        for name in ("", "web1", "web1-2"):
            logs.name_node(name)
            structlog.get_logger("x").info("said")
        logs.flush()
    finally:
        logs.name_node("")
        structlog.configure(**before)
    sys.stderr.flush()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("node") for line in lines] == [None, "web1", "web1-2"]
