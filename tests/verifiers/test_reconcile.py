"""What VIP knows otherwise than the store: users that it has removed, tokens that are not the customer's there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from otp_core.store.unit_of_work import NewCustomer
from tests.sekisho import STAFF, Sekisho
from tests.verifiers.vip_stub import running_vip


def test_customers_whom_vip_knows_otherwise_are_listed(tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    with running_vip(tmp_path) as vip:
        bank = Sekisho(tmp_path / "bank", more=vip.section())
        names = {"taro": "VSMT00000001", "jiro": "VSMT00000002", "hana": "VSMT00000003", "yuki": "VSMT00000004"}
        bank.desk.tokens.import_elsewhere([*names.values()], "vip", STAFF)
        with bank.store.work() as work:
            keys = {name: record.key for name, one in names.items() if (record := work.token(one))}
        new = [NewCustomer(name, None, token_key=keys[name]) for name in names]
        bank.desk.customers.import_rows(new, [*names.values()], STAFF)
        bank.desk.enrolment.suspend("yuki", None, STAFF)
        vip.vip.users |= {"taro": {"VSMT00000001"}, "jiro": {"VSMT00000099"}}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "sekisho", "--config", str(bank.config), "verifier", *words]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

        done = run("reconcile", "vip", "--json")
        assert done.returncode == 1, done.stderr
        assert [json.loads(line) for line in done.stdout.splitlines()] == [
            {"contract_id": "jiro", "token_id": "VSMT00000002", "there": "the token is not the customer's"},
            {"contract_id": "hana", "token_id": "VSMT00000003", "there": "the customer is unknown"},
        ]
        assert set(vip.vip.called()) == {"GetUserInfo"}, "nothing is changed there"
        vip.vip.users |= {"jiro": {"VSMT00000002"}, "hana": {"VSMT00000003"}}
        done = run("reconcile", "vip")
        assert done.returncode == 0 and "3 tokens compared, 0 known otherwise" in done.stderr + done.stdout
        listed = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
        assert {"name": "vip", "type": "vip", "tokens": 4} in listed
        assert run("reconcile", "eg").returncode == 2
        bank.close()
