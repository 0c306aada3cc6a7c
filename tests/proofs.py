"""Small breaks of the product, each with the test that docs/security.md names against it. test_security_page.py makes
each break in a copy (make soak): a test that still passes proves nothing."""

from __future__ import annotations

from typing import NamedTuple


class Break(NamedTuple):
    """``right`` stands once in ``source``; with ``broken`` in its place, ``test`` has to fail."""

    test: str
    source: str
    right: str
    broken: str


PORTAL, RADCLIENT = "tests/web/test_portal_security.py", "tests/journeys/test_radius_radclient.py"

BREAKS = [
    Break(
        f"{PORTAL}::test_one_source_that_guesses_at_many_customers_is_slowed_down",
        "otp_core/first_factor/throttle.py",
        "return Failures(before.number - 1, before.free_at - self._delays.after(int(before.number)))",
        "return NONE",
    ),
    Break(
        f"{PORTAL}::test_a_malformed_form_is_a_client_error_and_no_traceback",
        "admin_web/http/security.py",
        'text = (await request.read()).decode("utf-8", "replace")',
        'text = (await request.read()).decode("utf-8")',
    ),
    Break(
        f"{PORTAL}::test_the_language_link_leads_nowhere_else",
        "admin_web/language_page.py",
        "_OUR_PATH.fullmatch(back)",
        "_OUR_PATH.match(back)",
    ),
    Break(
        f"{PORTAL}::test_a_form_of_another_origin_is_refused",
        "admin_web/http/security.py",
        'return site == "same-origin"',
        'return site.endswith("same-origin")',
    ),
    Break(
        f"{PORTAL}::test_every_answer_carries_the_headers",
        "admin_web/http/security.py",
        'response.headers.setdefault("Cache-Control", "no-store")',
        'response.headers.setdefault("Cache-Control", "no-cache")',
    ),
    Break(
        f"{PORTAL}::test_neither_strangers_nor_one_customer_take_the_sessions_of_those_who_sign_in",
        "otp_core/accounts/sessions.py",
        "MOST_OF_ONE_CUSTOMER = 5",
        "MOST_OF_ONE_CUSTOMER = 50",
    ),
    Break(
        f"{RADCLIENT}::test_a_stranger_is_refused_in_the_time_of_a_wrong_password",
        "otp_core/first_factor/local.py",
        "self._dummy = dummy_hash(cost)",
        "self._dummy = dummy_hash(type(cost)(cost.memory_kib, 1, cost.parallelism))",
    ),
    Break(
        "tests/core/test_sealing.py::test_each_session_has_a_key_of_its_own",
        "otp_core/sealing.py",
        "return AESGCM(_derive(self._data, digest))",
        "return AESGCM(self._data)",
    ),
]
