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
DIRECTORY = "tests/ldap/test_directory.py"
APPROVALS = "tests/core/test_approvals.py"
GATE = "tests/web/test_api_gate.py"

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
        "return AESGCM(expanded.digest())",
        "return AESGCM(self._data)",
    ),
    Break(
        f"{GATE}::test_a_key_is_good_from_its_networks_alone",
        "admin_web/api/gate.py",
        "if key.networks and not is_in(",
        "if not key.networks and not is_in(",
    ),
    Break(
        f"{GATE}::test_a_scope_opens_what_names_it_and_nothing_else",
        "admin_web/api/gate.py",
        "if not key.scopes.intersection(operation.scopes):",
        "if not key.scopes:",
    ),
    Break(
        f"{GATE}::test_a_revoked_key_is_refused_from_that_moment",
        "otp_core/accounts/api_keys.py",
        "if not statements.drop_api_key(work.connection, record.key):",
        "if not record.key:",
    ),
    Break(
        "tests/core/test_api_keys.py::test_neither_store_nor_audit_trail_holds_a_key",
        "otp_core/accounts/api_keys.py",
        "statements.add_api_key(work.connection, record, self._digest(secret), _maker(work, principal))",
        "statements.add_api_key(work.connection, record, secret.encode(), _maker(work, principal))",
    ),
    Break(
        f"{APPROVALS}::test_whoever_asks_does_not_approve",
        "otp_core/accounts/approvals.py",
        "if found.asked_by == name:",
        'if found.asked_by == "":',
    ),
    Break(
        f"{APPROVALS}::test_whoever_has_made_a_programs_key_does_not_approve_what_it_asks_for",
        "otp_core/accounts/approvals.py",
        "if maker_of(work.connection, program) == name:",
        'if maker_of(work.connection, program) == "":',
    ),
    Break(
        f"{APPROVALS}::test_nobody_decides_about_themselves_and_nobody_asks_it",
        "otp_core/accounts/approvals.py",
        "if KINDS[found.act].subject is Subject.STAFF and found.subject == name:",
        "if KINDS[found.act].subject is Subject.FILE and found.subject == name:",
    ),
    Break(
        f"{APPROVALS}::test_a_key_that_was_made_anew_is_not_revoked_in_the_place_of_the_old_one",
        "otp_core/accounts/approvals.py",
        "if kind.seen(work, about) != found.seen:",
        "if not kind.seen(work, about):",
    ),
    Break(
        f"{APPROVALS}::test_what_is_to_be_done_is_sealed_bounded_and_bound_to_its_request",
        "otp_core/accounts/approvals.py",
        'session_digest(f"approval {key} {kind}".encode())',
        'session_digest(f"approval {kind}".encode())',
    ),
    Break(
        f"{APPROVALS}::test_the_last_administrator_who_can_sign_in_stays",
        "otp_core/accounts/staff.py",
        "if not statements.count_administrators(work.connection, but=record.key):",
        "if False:",
    ),
    Break(
        "tests/web/test_api_acts.py::test_an_account_that_staff_signs_in_with_is_left_alone",
        "admin_web/api/once.py",
        "        if refuse_staff:",
        "        if not refuse_staff:",
    ),
    Break(
        "tests/web/test_api_once.py::test_in_a_race_it_is_done_once_and_everybody_hears_the_same",
        "admin_web/api/once.py",
        "joined.kept_answers.keep(work, key, json.dumps(answer).encode())",
        "joined.kept_answers.find(work, key)",
    ),
    Break(
        "tests/web/test_api_check.py::test_every_refusal_is_one_answer",
        "admin_web/api/check.py",
        "_CODE = Policy(Mode.CODE, password_only=_NEITHER)",
        "_CODE = Policy(Mode.CODE)",
    ),
    Break(
        f"{DIRECTORY}::test_nothing_is_sent_to_a_server_whose_certificate_is_not_right",
        "otp_core/first_factor/ldap/connection.py",
        "self._transport = await loop.start_tls(plain, self, context, server_hostname=host)",
        "await asyncio.sleep(0)",
    ),
    Break(
        f"{DIRECTORY}::test_a_password_that_a_server_might_take_for_none_is_never_sent",
        "otp_core/first_factor/ldap/directory.py",
        'if not password.strip() or "\\0" in password:',
        'if "\\0" in password:',
    ),
    Break(
        f"{DIRECTORY}::test_an_account_of_somebody_else_lets_nobody_in",
        "otp_core/first_factor/ldap/directory.py",
        "if found.customer.casefold() != customer.casefold():",
        "if not found.customer:",
    ),
]
