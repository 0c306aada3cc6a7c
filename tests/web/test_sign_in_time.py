"""How long the sign-in takes to say no does not tell whose contract ID it was."""

from __future__ import annotations

import base64
import hashlib
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from admin_web.portal.sign_in import REFUSAL_SECONDS
from tests.sekisho import STAFF
from tests.web.portal import PortalClient, portal

ROUNDS = 200_000
"""Of an imported hash: some 60 ms, beside 1 ms for an argon2id hash of these tests."""


def imported(password: str) -> str:
    """A hash as Django writes it."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt-of-django", ROUNDS)
    return f"pbkdf2_sha256${ROUNDS}$salt-of-django${base64.b64encode(digest).decode()}"


def test_a_refusal_takes_as_long_for_a_stranger_as_for_any_customer(tmp_path: Path) -> None:
    """Interleaved, and by medians: another load of the machine is the same for all of them."""
    free = "[throttle]\npassword_free_failures = 100\n"
    with portal(tmp_path, more="address_free_failures = 1000", login=free) as opened:
        opened.sekisho.desk.customers.add("migrated", STAFF, password_hash=imported("right"))
        opened.sekisho.desk.customers.add("without", STAFF)
        ours = opened.sekisho.customer().contract_id

        def seconds(contract_id: str) -> float:
            fields = {"contract_id": contract_id, "password": "wrong"}
            started = time.perf_counter()
            answer = PortalClient(opened).ask("POST", "/enrol", fields)
            assert (answer.status, answer.headers["Location"]) == (303, "/enrol")
            return time.perf_counter() - started

        names = ("nobody", "migrated", "without", ours)
        taken: dict[str, list[float]] = {name: [] for name in names}
        with ThreadPoolExecutor(2) as pool:
            for round_ in range(7):
                turned = [*names[round_ % 4 :], *names[: round_ % 4]]
                for name, one in zip(turned, pool.map(seconds, turned), strict=True):
                    taken[name].append(one)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    assert max(medians.values()) < 1.15 * min(medians.values()), medians
    assert min(medians.values()) >= REFUSAL_SECONDS


def test_a_right_pair_waits_for_nothing_and_an_imported_hash_is_right(tmp_path: Path) -> None:
    with portal(tmp_path) as opened:
        opened.sekisho.desk.customers.add("migrated", STAFF, password_hash=imported("right"))
        answer = PortalClient(opened).ask("POST", "/enrol", {"contract_id": "migrated", "password": "right"})
        assert (answer.status, answer.headers["Location"]) == (303, "/enrol/token")
