"""FreeRADIUS 3.2 between the gateway and Sekisho, as many banks have it: challenges pass through it in both rounds, its
retransmissions are one login, and its Status-Server checks find out when Sekisho is back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.messages import TEXTS, Text
from otp_core.model import Language
from tests.radius.freeradius import FRONT_SECRET, Proxy, proxy
from tests.radius.tools import counted, heard, login, oath, radclient, received
from tests.sekisho import PASSWORD, Sekisho, client_table

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"
ATTRIBUTES = 'reply_attributes = { "Cisco-AVPair" = ["shell:priv-lvl=15", "ip:addr-pool=kinko"] }\n'


@pytest.fixture
def sekisho(tmp_path: Path) -> Iterator[Sekisho]:
    one = Sekisho(tmp_path, clients=client_table("proxy", "127.0.0.1", "challenge", reject_delay=4.0) + ATTRIBUTES)
    try:
        yield one.start()
    finally:
        one.close()


def ask(front: Proxy, user: str, user_password: str, state: str = "", more: str = "", **options: float) -> str:
    return radclient(front.port, login(user, user_password, state) + more, secret=FRONT_SECRET, **options)  # type: ignore[arg-type]


def test_both_rounds_pass_through_the_proxy_and_proxy_states_stay_in_order(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer()
    own = ",Proxy-State=0x00ff,Proxy-State=0x3131"
    with proxy(tmp_path / "front", sekisho.port) as front:
        first = ask(front, one.contract_id, PASSWORD, more=own)
        assert heard(first) == CHALLENGE
        assert received(first, "Reply-Message") == [TEXTS[Language.JA, Text.CHALLENGE]]
        assert (received(first, "Prompt"), received(first, "Proxy-State")) == (["No-Echo"], ["0x00ff", "0x3131"])
        second = ask(front, one.contract_id, oath(one), received(first, "State")[0], own)
        assert heard(second) == ACCEPT
        assert received(second, "Cisco-AVPair") == ["shell:priv-lvl=15", "ip:addr-pool=kinko"]
        assert received(second, "Proxy-State") == ["0x00ff", "0x3131"]
        log = front.log_text()
    assert log.count("Received Access-Challenge") == log.count("Received Access-Accept") == 1
    for reply in ("Received Access-Challenge", "Received Access-Accept"):
        at_the_proxy = log.partition(reply)[2].partition("server default {")[0]
        states = [line.split()[-1] for line in at_the_proxy.splitlines() if "Proxy-State" in line]
        assert states[:2] == ["0x00ff", "0x3131"], "the gateway's first, in their order"
        assert len(states) == 3, "the proxy's own last"
        assert "Message-Authenticator" in at_the_proxy.splitlines()[1], "the signature is the first attribute"


def test_a_retransmission_that_the_proxy_forwards_is_one_attempt(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer()
    with proxy(tmp_path / "front", sekisho.port) as front:
        printed = ask(front, one.contract_id, "x", tries=6, wait=1)
        assert heard(printed) == REJECT
        forwarded = front.log_text().count("Sending duplicate proxied request to home server")
        assert forwarded >= 2, "one a second, until the refusal at 4 s"
    assert len(sekisho.audit(one.contract_id, "login.rejected")) == 1
    sekisho.stop()
    counts = counted(sekisho)
    assert counts.pop("Access-Reject") == 1
    assert sum(counts.values()) == forwarded
    assert set(counts) <= {"duplicate in progress", "duplicate answered again"}


def test_a_wrong_code_is_asked_for_again_through_the_proxy(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer()
    with proxy(tmp_path / "front", sekisho.port) as front:
        (state,) = received(ask(front, one.contract_id, PASSWORD), "State")
        again = ask(front, one.contract_id, "not a code", state)
        assert heard(again) == CHALLENGE
        assert received(again, "Reply-Message") == [TEXTS[Language.JA, Text.CHALLENGE_AGAIN]]
        (new_state,) = received(again, "State")
        assert new_state != state
        assert heard(ask(front, one.contract_id, oath(one), new_state)) == ACCEPT


def test_silence_stays_silence_behind_a_proxy_with_the_lines_of_the_readme(sekisho: Sekisho, tmp_path: Path) -> None:
    """And is a rejection without them: the gateway would not ask its next server."""
    one = sekisho.customer(enrolled=False)
    assert sekisho.process is not None
    os.killpg(sekisho.process.pid, signal.SIGSTOP)
    try:
        with proxy(tmp_path / "front", sekisho.port, window=1) as front:
            assert heard(ask(front, one.contract_id, PASSWORD, wait=4)) == "silence"
            front.wait_for_log("Post-Proxy-Type")
        with proxy(tmp_path / "bare", sekisho.port, window=1, post_proxy="") as front:
            assert heard(ask(front, one.contract_id, PASSWORD, wait=10)) == REJECT
    finally:
        os.killpg(sekisho.process.pid, signal.SIGCONT)


def test_status_server_tells_the_proxy_when_sekisho_is_back(sekisho: Sekisho, tmp_path: Path) -> None:
    """FreeRADIUS checks every 6 s at the most often, and believes the third answer."""
    one = sekisho.customer(enrolled=False)
    with proxy(tmp_path / "front", sekisho.port, window=1, zombie=1) as front:
        assert heard(ask(front, one.contract_id, PASSWORD)) == ACCEPT
        assert sekisho.process is not None
        os.killpg(sekisho.process.pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                assert heard(ask(front, one.contract_id, PASSWORD, wait=1.5)) == "silence"
            front.wait_for_log("as dead")
        finally:
            os.killpg(sekisho.process.pid, signal.SIGCONT)
        front.wait_for_log("Received response to status check", times=3, seconds=40)
        assert heard(ask(front, one.contract_id, PASSWORD)) == ACCEPT
    sekisho.stop()
    assert counted(sekisho)["Status-Server answered"] >= 3
