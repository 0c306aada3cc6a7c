"""The look-up of an API key where the store's answers come over a network: beside the event loop, and one at a time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from admin_web.api import gate as gate_module
from admin_web.api.gate import Gate
from admin_web.api.settings import ApiSettings
from otp_core.model import StoreBusy, StoreUnavailable
from otp_core.store.api_keys import ApiKeyRecord
from otp_core.store.retry import run_acts_aside
from tests.core.bank import Bank


class SilentStore:
    """Its server does not answer, until ``gives_up`` is set."""

    def __init__(self) -> None:
        self.gives_up, self.asked = threading.Event(), 0

    def api_key_of(self, digest: bytes) -> ApiKeyRecord | None:
        self.asked += 1
        self.gives_up.wait()
        raise StoreUnavailable("no answer")

    def close(self) -> None:
        pass


def test_requests_do_not_wait_in_line_for_a_store_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would have its own time-out behind those of all before it."""
    monkeypatch.setattr(gate_module, "BUSY_SECONDS", 0.01)
    reader = SilentStore()

    async def scene() -> list[BaseException | None]:
        gate = Gate(Bank(tmp_path).desk.api_keys, reader, {}, ApiSettings)
        request = make_mocked_request("GET", "/api/v1/customers", {"Authorization": "Bearer sekisho_nobodys"})
        asking = [asyncio.create_task(gate.check_again(request)) for _ in range(20)]
        try:
            _, waiting = await asyncio.wait(asking[1:], timeout=20)
        finally:
            reader.gives_up.set()
        await asyncio.wait(asking)
        assert not waiting, "until the store gives up"
        return [one.exception() for one in asking]

    run_acts_aside(True)
    try:
        first, *others = asyncio.run(scene())
    finally:
        run_acts_aside(False)
    assert isinstance(first, StoreUnavailable) and not isinstance(first, StoreBusy)
    assert all(isinstance(one, StoreBusy) for one in others)
    assert reader.asked == 1
