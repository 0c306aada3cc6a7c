"""One code, one login: whoever asks, however often, through whatever gateway and worker, and whatever the desk does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from otp_core.accounts import Refusal, Refused
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Peers, access_request, names
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table, free_port

CODE, OTHER, CHALLENGING, APPENDING, AUTO, JOINING, JOINING_STATES = (f"127.0.{number}.1" for number in range(1, 8))
"""Where each client's gateway sends from."""

JOIN_SECONDS = 2
CLIENTS = "".join(
    [
        client_table("code", f"{CODE}", "code", suspended='"reject"'),
        client_table("other", f"{OTHER}", "code", suspended='"reject"'),
        client_table("challenging", f"{CHALLENGING}", "challenge"),
        client_table("appending", f"{APPENDING}", "append"),
        client_table("auto", f"{AUTO}", "auto"),
        client_table("joining", f"{JOINING}", "code", repeated_login_seconds=JOIN_SECONDS),
        client_table("joining states", f"{JOINING_STATES}", "auto", repeated_login_seconds=JOIN_SECONDS),
    ]
)

MORE = "[login]\ncode_window = 2\n"
"""A new customer's drift is one step back (sekisho.py enrols with the code before): so the next code fits as well."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def sekisho(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    folder: Path = tmp_path_factory.mktemp("once")
    made = Sekisho(folder, CLIENTS, MORE, listen=(f"127.0.0.1:{free_port()}",), workers=request.param)
    try:
        yield made.start()
    finally:
        made.close()


def ask(customer: Customer, user_password: str, state: bytes | None = None) -> Packet:
    return access_request(customer.contract_id, user_password, secret=SECRET, state=state)


def accepted(sekisho: Sekisho, customer: Customer) -> int:
    """Logins of this customer in the audit trail, each with its code."""
    return len(sekisho.audit(customer.contract_id, "login.accepted"))


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_code_one_login_under_race(sekisho: Sekisho) -> None:
    with Peers(sekisho.where, 16, CODE) as peers:
        for _ in range(5):
            customer = sekisho.customer()
            code = customer.code()
            replies = peers.ask_all([ask(customer, code) for _ in range(40)], wait=8)
            assert Counter(names(replies)) == {ACCEPT: 1, REJECT: 39}
            assert accepted(sekisho, customer) == 1


def test_the_next_code_logs_in_and_the_one_before_never_again(sekisho: Sekisho) -> None:
    customer = sekisho.customer()
    with Peers(sekisho.where, 4, CODE) as peers:
        user_password = [customer.code(1), customer.code(0), customer.code(1), customer.code(-1)]
        replies = [peers.ask(ask(customer, code), at=at) for at, code in enumerate(user_password)]
    assert names(replies) == [ACCEPT, REJECT, REJECT, REJECT]


def test_two_right_codes_for_one_state_let_one_in(sekisho: Sekisho) -> None:
    with Peers(sekisho.where, 16, CHALLENGING) as peers:
        for _ in range(5):
            customer = sekisho.customer()
            first = peers.ask(ask(customer, PASSWORD))
            assert first is not None and first.name == CHALLENGE
            codes = [customer.code(0), customer.code(1)] * 10
            replies = peers.ask_all([ask(customer, code, first.state) for code in codes], wait=8)
            assert Counter(names(replies)) == {ACCEPT: 1, REJECT: 19}
            assert accepted(sekisho, customer) == 1


def test_one_code_answers_two_states_once(sekisho: Sekisho) -> None:
    with Peers(sekisho.where, 16, CHALLENGING) as peers:
        customer = sekisho.customer()
        states = open_states(peers, customer, 5)
        code = customer.code()
        replies = peers.ask_all([ask(customer, code, state) for state in states], wait=8)
    assert len(set(states)) == 5
    assert Counter(names(replies)) == {ACCEPT: 1, CHALLENGE: 4}


def open_states(peers: Peers, customer: Customer, number: int) -> list[bytes]:
    """One after another: a burst of passwords is slowed down, right or wrong."""
    firsts = [peers.ask(ask(customer, PASSWORD), at=at) for at in range(number)]
    return [first.state for first in firsts if first]


def test_a_customers_newest_five_challenges_stay_open(sekisho: Sekisho) -> None:
    """Nobody fills everybody's places."""
    customer, neighbour = sekisho.customer(), sekisho.customer()
    with Peers(sekisho.where, 8, CHALLENGING) as peers:
        (kept,) = open_states(peers, neighbour, 1)
        oldest, *others = open_states(peers, customer, 6)
        assert names([peers.ask(ask(customer, customer.code(), oldest))]) == [REJECT]
        assert names([peers.ask(ask(customer, "", state)) for state in others]) == [CHALLENGE] * 5
        assert names([peers.ask(ask(neighbour, neighbour.code(), kept))]) == [ACCEPT]


def test_one_code_through_two_gateways_at_once_logs_in_once(sekisho: Sekisho) -> None:
    with Peers(sekisho.where, 8, CODE) as one, Peers(sekisho.where, 8, OTHER) as two:
        for _ in range(5):
            customer = sekisho.customer()
            # The same bytes by both: that is one request sent again for neither, as the client is part of who asks.
            packets = [ask(customer, customer.code()) for _ in range(20)]
            heard: list[str] = []
            at_once((0, partial(listen, one, packets, heard)), (0, partial(listen, two, packets, heard)))
            assert Counter(heard) == {ACCEPT: 1, REJECT: 39}
            assert accepted(sekisho, customer) == 1


def test_a_code_spent_at_the_desk_cannot_log_in(sekisho: Sekisho) -> None:
    suspended, enrolled, changed = sekisho.customer(), sekisho.customer(enrolled=False), sekisho.customer()
    new = sekisho.customer(enrolled=False)
    code = suspended.code()
    sekisho.desk.enrolment.suspend(suspended.contract_id, code, STAFF)
    sekisho.desk.enrolment.resume(suspended.contract_id, STAFF)
    enrolling = enrolled.code()
    sekisho.desk.enrolment.enrol(enrolled.contract_id, enrolled.token_id, enrolling, STAFF)
    old_code, new_code = changed.code(), new.code()
    sekisho.desk.devices.change(changed.contract_id, old_code, new.token_id, new_code, STAFF)
    drifted = sekisho.customer()
    first, second = drifted.code(3), drifted.code(4)
    sekisho.desk.enrolment.resynchronise(drifted.contract_id, first, second, STAFF)
    with Peers(sekisho.where, 4, CODE) as peers:
        for customer, user_password in (
            (suspended, code),
            (enrolled, enrolling),
            (changed, old_code),
            (changed, new_code),
            (drifted, first),
            (drifted, second),
        ):
            assert names([peers.ask(ask(customer, user_password))]) == [REJECT]
        for customer, used in ((suspended, code), (enrolled, enrolling)):
            assert names([peers.ask(ask(customer, customer.next_code(used)))]) == [ACCEPT]
        assert names([peers.ask(ask(changed, new.next_code(new_code)))]) == [ACCEPT]


@pytest.mark.parametrize("lead", [0.05, 0.002, 0.0, -0.002, -0.05], ids=lambda lead: f"desk {-1000 * lead:+.0f} ms")
def test_of_desk_and_gateway_with_one_code_one_wins(sekisho: Sekisho, lead: float) -> None:
    """``lead``: how long before the gateway the desk is asked. Which of them is first is the machine's affair."""
    with Peers(sekisho.where, 1, CODE) as peers:
        for _ in range(4):
            customer = sekisho.customer()
            code = customer.code()
            gateway: list[str] = []
            desk: list[str] = []
            at_once(
                (max(0.0, -lead), partial(suspend, sekisho, customer, code, desk)),
                (max(0.0, lead), partial(listen, peers, [ask(customer, code)], gateway)),
            )
            assert (desk, gateway) in ((["suspended"], [REJECT]), ([Refusal.REUSED_CODE], [ACCEPT]))


def suspend(sekisho: Sekisho, customer: Customer, code: str, said: list[str]) -> None:
    try:
        sekisho.desk.enrolment.suspend(customer.contract_id, code, STAFF)
    except Refused as refused:
        said.append(refused.refusal)
    else:
        said.append("suspended")


def listen(peers: Peers, packets: list[Packet], heard: list[str]) -> None:
    heard += names(peers.ask_all(packets, wait=8))


def at_once(*acts: tuple[float, Callable[[], None]]) -> None:
    """Each act in a thread of its own, so many seconds after a common start."""
    barrier = threading.Barrier(len(acts))

    def run(seconds: float, act: Callable[[], None]) -> None:
        barrier.wait()
        time.sleep(seconds)
        act()

    threads = [threading.Thread(target=run, args=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(("source", "user_password"), [
    (CODE, "{code}"), (APPENDING, PASSWORD + "{code}"), (AUTO, PASSWORD + "{code}"), (CHALLENGING, "{code}"),
], ids=["code", "append", "auto", "challenge"])  # fmt: skip
def test_a_retransmission_is_accepted_again_wherever_it_lands(
    sekisho: Sekisho, source: str, user_password: str
) -> None:
    """Identical bytes from other ports: for two workers, some of them are another process's."""
    customer = sekisho.customer()
    with Peers(sekisho.where, 12, source) as peers:
        state = None
        if source == CHALLENGING:
            first = peers.ask(ask(customer, PASSWORD))
            assert first is not None
            state = first.state
        packet = ask(customer, user_password.format(code=customer.code()), state)
        assert names([peers.ask(packet)]) == [ACCEPT]
        for at in range(0, 12, 3):  # three at once, as a patient gateway has them: more of them wait for each other
            assert names(peers.ask_all([packet] * 3, at=[at, at + 1, at + 2], wait=8)) == [ACCEPT] * 3
        fresh = peers.ask(ask(customer, user_password.format(code=customer.code()), state))
    assert names([fresh]) != [ACCEPT]
    assert accepted(sekisho, customer) == 1


def test_a_retransmission_reaches_the_other_worker(sekisho: Sekisho) -> None:
    """The same, with the workers told apart: one stands still, so only the other can answer."""
    if sekisho.workers == 1:
        pytest.skip("one worker has no other")
    customer = sekisho.customer()
    one, other = sekisho.workers_pids
    with Peers(sekisho.where, 12, CODE) as peers:
        packet = ask(customer, customer.code())
        with standing_still(one):
            assert names([peers.ask(packet)]) == [ACCEPT]
        with standing_still(other):
            assert names([peers.ask(packet)]) == [ACCEPT]
            assert names([peers.ask(ask(customer, customer.code()))]) == [REJECT]
    assert len(sekisho.audit(customer.contract_id, "login.repeated")) == 1


def test_a_gateway_that_may_join_sends_one_login_anew(sekisho: Sekisho) -> None:
    customer, stranger = sekisho.customer(), sekisho.customer()
    with Peers(sekisho.where, 8, JOINING) as peers, Peers(sekisho.where, 4, CODE) as others:
        code = customer.code()
        started = time.monotonic()
        replies = peers.ask_all([ask(customer, code) for _ in range(8)], wait=8)
        assert names(replies) == [ACCEPT] * 8
        assert accepted(sekisho, customer) == 1
        assert time.monotonic() - started < JOIN_SECONDS
        assert names([others.ask(ask(customer, code))]) == [REJECT]
        assert names([peers.ask(ask(stranger, code))]) == [REJECT]
        time.sleep(JOIN_SECONDS + 0.1)
        assert names([peers.ask(ask(customer, code))]) == [REJECT]
        assert accepted(sekisho, customer) == 1


def test_a_login_sent_anew_joins_with_the_same_state_and_never_with_a_forged_one(sekisho: Sekisho) -> None:
    customer = sekisho.customer()
    with Peers(sekisho.where, 4, JOINING_STATES) as peers:
        state, other = open_states(peers, customer, 2)
        code = customer.code()
        assert names([peers.ask(ask(customer, code, state))]) == [ACCEPT]
        assert names([peers.ask(ask(customer, code, state), at=at) for at in range(4)]) == [ACCEPT] * 4
        for forged in (os.urandom(16), state[:-1], state + b"x", b"x"):
            assert names([peers.ask(ask(customer, code, forged))]) == [REJECT]
        assert names([peers.ask(ask(customer, code, other))]) == [CHALLENGE], "an open challenge of its own"
        assert names([peers.ask(ask(customer, PASSWORD + code))]) != [ACCEPT], "a login without any State is another"
        time.sleep(JOIN_SECONDS + 0.1)
        assert names([peers.ask(ask(customer, code, state))]) == [REJECT]
    assert accepted(sekisho, customer) == 1


def test_password_and_code_sent_anew_join_by_the_code_and_never_without_the_password(sekisho: Sekisho) -> None:
    customer = sekisho.customer()
    with Peers(sekisho.where, 4, JOINING_STATES) as peers:
        code = customer.code()
        assert names([peers.ask(ask(customer, PASSWORD + code))]) == [ACCEPT]
        assert names([peers.ask(ask(customer, PASSWORD + code))]) == [ACCEPT]
        for user_password in ("x" + PASSWORD + code, code, PASSWORD[:-1] + code):
            assert names([peers.ask(ask(customer, user_password))]) == [REJECT]
    assert accepted(sekisho, customer) == 1
