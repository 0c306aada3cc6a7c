"""A customer leaves VIP at the counter: the old token's code is asked there, the new one is made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.model import Role
from tests.sekisho import PASSWORD, Customer
from tests.verifiers.test_login import enrolled, wrong
from tests.verifiers.vip_stub import UNFINISHED_TLS, running_vip
from tests.web.console import console
from tests.web.test_console_tokens import made, place, state_of

pytestmark = UNFINISHED_TLS


@pytest.mark.parametrize("down", [False, True])
def test_the_old_code_is_vips_and_the_new_token_is_ours(tmp_path: Path, down: bool) -> None:
    (tmp_path / "vip").mkdir()
    (tmp_path / "bank").mkdir()
    with running_vip(tmp_path / "vip") as vip, console(tmp_path / "bank", other=vip.section(timeout="1.0")) as bank:
        app = enrolled(bank.sekisho, vip, "hanako", "SYMC00000001")
        one, operator = Customer("hanako", PASSWORD, app.credential_id, b""), bank.client(Role.OPERATOR)
        _, new = made(bank, operator, one, "change-device")
        path = f"{place(bank, one)}/change-device/code"
        if down:
            vip.vip.delay = 5.0
            assert operator.post(path, old_code=app.code(), code=new.code()).status == 503
            vip.vip.delay = 0.0
            operator.get(path)
        assert "Device changed" not in operator.post(path, old_code=wrong(app), code=new.code()).text
        page = operator.post(path, old_code=app.code(1) if down else app.code(), code=new.code(1))
        assert f"Device changed to token {new.token_id}" in page.text
        assert state_of(bank, app.credential_id) == "retired"
