"""Many tokens of the inventory retired at once on the console: what is chosen, by two people or one, what has changed
meanwhile, and a retirement that is killed in the middle."""

from __future__ import annotations

import html
import os
import re
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from admin_web.console.gate import HELD_SECONDS, with_held
from otp_core.accounts import StaffSession
from otp_core.accounts.retirements import MOST_TOKENS
from otp_core.model import Role, TokenSpec
from otp_core.store.file_imports import file_import_of
from otp_core.store.schema import file_import, staff_session, token
from otp_core.store.staff import StaffRecord
from tests.sekisho import STAFF
from tests.web.console import Console, ConsoleClient, console
from tests.web.portal import Answer
from tests.web.test_console_imports import kept_pieces, newest, text_of, waited

WHY = {"reason": "series with a weak battery", "ticket": "T-3"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Where two people are needed."""
    with console(tmp_path_factory.mktemp("two")) as running:
        yield running


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Where one person is enough."""
    with console(tmp_path_factory.mktemp("alone"), more="approvals = []") as running:
        yield running


@pytest.fixture(scope="module")
def asker(bank: Console) -> ConsoleClient:
    return bank.client(Role.SUPERVISOR)


@pytest.fixture(scope="module")
def decider(bank: Console) -> ConsoleClient:
    return bank.client(Role.ADMINISTRATOR)


def stock(bank: Console, series: str, number: int) -> list[str]:
    """New tokens whose IDs begin so."""
    token_ids = [f"{series}{one:0{12 - len(series)}d}" for one in range(number)]
    bank.sekisho.desk.tokens.import_rows([(one, os.urandom(20), TokenSpec()) for one in token_ids], STAFF)
    return token_ids


def states(bank: Console, series: str) -> Counter[str]:
    with bank.sekisho.store.read() as connection:
        return Counter(connection.scalars(select(token.c.state).where(token.c.token_id.startswith(series))))


def sent(client: ConsoleClient, series: str, **fields: str) -> Answer:
    """The page after the form of this series, as it was shown."""
    shown = client.get(f"/tokens/retire?from={series}&to={series}")
    (digest,) = re.findall(r'name="tokens" value="([0-9a-f]{64})"', shown.text) or [""]
    return client.post("/tokens/retire", **{"from": series, "to": series, "tokens": digest, **WHY, **fields})


def asked(client: ConsoleClient, series: str) -> str:
    """The path of the request."""
    page = sent(client, series)
    assert "another person has to approve" in page.text
    (path,) = set(re.findall(r'href="(/approvals/\d+)"', page.text))
    return str(path)


def approved(asker: ConsoleClient, decider: ConsoleClient, series: str) -> str:
    path = asked(asker, series)
    decider.get(path)
    assert "Approved" in text_of(decider.post(f"{path}/approve", reason="seen the recall"))
    asker.get(path)
    return path


def test_two_people_retire_what_a_filter_shows_and_nothing_else(
    bank: Console, asker: ConsoleClient, decider: ConsoleClient
) -> None:
    mine, others = stock(bank, "VSMT11", 30), stock(bank, "VSMT12", 3)
    listed = asker.get("/tokens?from=vsmt-11&to=vsmt-11")
    assert "VSMT 1100 0029" in listed.text and "VSMT 1200 0000" not in listed.text
    (link,) = re.findall(r'href="(/tokens/retire\?[^"]+)"', listed.text)
    page = asker.get(html.unescape(link))
    words = text_of(page)
    assert "Available tokens 30" in words and "VSMT 1100 0009" in words and "VSMT 1100 0010" not in words
    assert "Last one VSMT 1100 0029" in words and "cannot be undone" in words
    request = asked(asker, "VSMT11")
    assert states(bank, "VSMT11") == {"available": 30}
    assert asker.post(f"{request}/approve", key="", reason="mine").status == 403
    shown = text_of(decider.get(request))
    assert "Retire 30 tokens" in shown and "VSMT11000000-VSMT11000029" in shown and "VSMT 1100 0009" in shown
    decider.post(f"{request}/approve", reason="seen the recall")
    asker.get(request)
    page = waited(asker, asker.post(f"{request}/carry-out"))
    assert "Retired: 30." in text_of(page) and "Left as they are" not in page.text
    assert states(bank, "VSMT11") == {"retired": 30} and states(bank, "VSMT12") == {"available": len(others)}
    rows = [row for row in bank.sekisho.audit(event="token.retired") if (row.token or "").startswith("VSMT11")]
    assert sorted(row.token or "" for row in rows) == mine
    reason = "tokens VSMT11000000-VSMT11000029: series with a weak battery; ticket T-3; approved by administrator"
    assert {(row.actor, row.reason) for row in rows} == {("supervisor", reason)}
    begun, ended = bank.sekisho.audit(event="retirement.begun")[-1], bank.sekisho.audit(event="retirement.ended")[-1]
    assert (begun.actor, ended.actor) == ("supervisor", "sekisho") and "retirement, 30 tokens" in (ended.reason or "")
    assert kept_pieces(bank) == 0 and "Tokens to be retired" in asker.get("/imports").text


def test_a_list_that_has_changed_since_it_was_asked_for_is_not_retired(
    bank: Console, asker: ConsoleClient, decider: ConsoleClient
) -> None:
    """One token more is one that nobody has approved; one fewer was taken for somebody."""
    stock(bank, "VSMT21", 5)
    request = approved(asker, decider, "VSMT21")
    stock(bank, "VSMT2199", 1)
    assert "the state has changed" in asker.post(f"{request}/carry-out").wrong
    assert states(bank, "VSMT21") == {"available": 6}
    request = approved(asker, decider, "VSMT21")
    bank.sekisho.desk.tokens.retire("VSMT21000003", STAFF)
    assert "the state has changed" in asker.post(f"{request}/carry-out").wrong
    assert states(bank, "VSMT21") == {"available": 5, "retired": 1}
    place = f"/imports/{newest(bank).key}"
    asker.get(place)
    assert "The list was given up" in text_of(asker.post(f"{place}/withdraw"))


def test_a_list_that_was_changed_in_the_store_is_not_believed(
    bank: Console, asker: ConsoleClient, decider: ConsoleClient
) -> None:
    stock(bank, "VSMT22", 5)
    request = approved(asker, decider, "VSMT22")
    mine = file_import.c.key == newest(bank).key
    with bank.sekisho.store.work() as work:
        choices = newest(bank).choices.replace('"verifier": ""', '"verifier": "local"')
        work.connection.execute(update(file_import).where(mine).values(choices=choices))
    page = waited(asker, asker.post(f"{request}/carry-out"))
    assert "not the one that was decided about" in text_of(page) and states(bank, "VSMT22") == {"available": 5}


def test_a_list_that_is_refused_is_given_up(bank: Console, asker: ConsoleClient, decider: ConsoleClient) -> None:
    stock(bank, "VSMT23", 2)
    request = asked(asker, "VSMT23")
    decider.get(request)
    decider.post(f"{request}/refuse", refusal="not these")
    bank.sekisho.desk.file_imports.sweep()
    assert "it was refused" in text_of(asker.get(f"/imports/{newest(bank).key}"))
    assert states(bank, "VSMT23") == {"available": 2} and newest(bank).state == "withdrawn"


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_whoever_retires_one_token_does_not_retire_many(bank: Console, role: Role) -> None:
    stock(bank, f"VSMT3{list(Role).index(role)}", 1)
    client = bank.client(role)
    assert client.get("/tokens/retire?from=VSMT3").status == 403
    assert client.ask("POST", "/tokens/retire", {"from": "VSMT3", **WHY}).status == 403
    assert "/tokens/retire" not in client.get("/tokens?from=VSMT3").text


def test_it_asks_for_passkey_or_code_again(alone: Console) -> None:
    client = alone.client(Role.SUPERVISOR)
    with alone.sekisho.store.work() as work:
        work.connection.execute(update(staff_session).values(confirmed_at=0))
    assert client.ask("GET", "/tokens/retire?from=VSMT4", None).headers["Location"].startswith("/confirm?to=")


def test_who_confirms_is_back_where_they_were_with_what_they_typed(
    bank: Console, asker: ConsoleClient, decider: ConsoleClient
) -> None:
    """On the page of a request, and on one whose address says which tokens."""
    stock(bank, "VSMT24", 2)
    request = asked(asker, "VSMT24")

    def sent_late(client: ConsoleClient, page: str, form: str, **fields: str) -> str:
        client.get(page)
        with bank.sekisho.store.work() as work:
            work.connection.execute(update(staff_session).values(confirmed_at=0))
        fields["key"] = client.key(form)
        answer = client.ask("POST", form, fields, Referer=f"{bank.origin}{page}")
        assert client.ask("POST", form, {**fields, "key": "forged"}).status == 403
        return answer.headers["Location"]

    for do, field in (("refuse", "refusal"), ("approve", "reason")):
        to = sent_late(decider, request, f"{request}/{do}", **{field: "looked at twice"})
        assert to == f"/confirm?to={request}"
        back = confirmed(bank, decider, to)
        assert back.path == request
        (shown,) = re.findall(r'name="(\w+)"[^>]*value="looked at twice"', back.text)
        assert shown == field and states(bank, "VSMT24") == {"available": 2}
    stock(bank, "VSMT25", 1)
    page = "/tokens/retire?from=VSMT25&to=VSMT25"
    to = sent_late(asker, page, "/tokens/retire", **{"from": "VSMT25", "to": "VSMT25"}, **WHY)
    back = confirmed(bank, asker, to)
    assert back.path == page and f'value="{WHY["reason"]}"' in back.text


@pytest.mark.parametrize(("seconds", "shown"), [(1.0, True), (HELD_SECONDS + 1.0, False), (-1.0, False)])
def test_what_was_typed_is_shown_again_for_some_minutes_and_on_its_own_page_alone(seconds: float, shown: bool) -> None:
    """Hours later nobody must find ticked how they made sure of a customer before they turned away."""
    taro = StaffRecord(1, "taro", Role.OPERATOR, None, None, False, 0)
    data = {"used": ["a"], "held": {"page": "/customers/7/edit", "fields": {"identity": "phone"}, "at": 1000.0}}
    session = StaffSession(1, b"", taro, "127.0.0.1", 0, 0, 0, data)
    assert with_held(session, "/customers/8/edit", 1000.0 + seconds) is session
    there = with_held(session, "/customers/7/edit", 1000.0 + seconds).data
    assert there == {"used": ["a"], **({"kept": {"identity": "phone"}} if shown else {})}


def confirmed(bank: Console, client: ConsoleClient, page: str) -> Answer:
    """The page that is shown behind the confirmation, as if a code had been given."""
    client.get(page)
    with bank.sekisho.store.work() as work:
        work.connection.execute(update(staff_session).values(confirmed_at=int(time.time() * 1000)))
    return client.get(urllib.parse.unquote(page.partition("to=")[2]))


def test_what_is_wrong_with_the_form_is_said_and_nothing_is_kept(alone: Console) -> None:
    client = alone.client(Role.SUPERVISOR)
    assert client.get("/tokens/retire").path == "/tokens", "all there are is no list"
    assert "/tokens/retire" not in client.get("/tokens").text
    assert "No token of this list is available" in client.get("/tokens/retire?from=NONE&to=NONE").text
    stock(alone, "VSMT41", 2)
    kept = newest_key(alone)
    page = sent(client, "VSMT41", reason=" ")
    assert "Write the reason" in page.wrong and 'value="T-3"' in page.text
    client.get("/tokens/retire?from=VSMT41")
    assert "Say which tokens" in client.post("/tokens/retire", **WHY).wrong
    for digest in ("", "0" * 64):
        assert "Other tokens are available now" in sent(client, "VSMT41", tokens=digest).wrong
    assert newest_key(alone) == kept and states(alone, "VSMT41") == {"available": 2}


def newest_key(bank: Console) -> int:
    with bank.sekisho.store.read() as connection:
        return connection.scalar(select(file_import.c.key).order_by(file_import.c.key.desc()).limit(1)) or 0


def test_at_most_so_many_at_once_the_first_ones_of_the_list(alone: Console) -> None:
    client = alone.client(Role.ADMINISTRATOR)
    stock(alone, "VSMT5", MOST_TOKENS + 5)
    words = text_of(client.get("/tokens/retire?from=VSMT5&to=VSMT5"))
    assert "Available tokens 10,000" in words and "these are the first ones" in words
    page = waited(client, sent(client, "VSMT5"))
    assert "Retired: 10,000." in text_of(page)
    assert states(alone, "VSMT5") == {"retired": MOST_TOKENS, "available": 5}
    assert "Available tokens 5" in text_of(client.get("/tokens/retire?from=VSMT5&to=VSMT5"))


def test_a_retirement_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with console(tmp_path, more="approvals = []") as bank:
        client = bank.client(Role.SUPERVISOR)
        token_ids = stock(bank, "VSMT6", 8000)
        path = sent(client, "VSMT6").path
        late = stock(bank, "VSMT69", 1)  # not behind the kill: a flush that it cuts off stops all but the next start
        end = time.monotonic() + 30
        while not 0 < newest(bank).done < 8000 and time.monotonic() < end:
            time.sleep(0.01)
        assert newest(bank).state == "writing"
        bank.sekisho.kill()
        half = newest(bank)
        assert 0 < half.done < 8000 and states(bank, "VSMT6")["retired"] == half.written == half.done
        bank.sekisho.start()
        page = waited(client, client.get(path))
        assert "Retired: 8,000." in text_of(page)
        rows = [row.token for row in bank.sekisho.audit(event="token.retired")]
        assert sorted(str(one) for one in rows) == token_ids, "each once"
        assert states(bank, "VSMT69") == {"available": len(late)}, "imported later: nobody asked for it"
        with bank.sekisho.store.read() as connection:
            found = file_import_of(connection, half.key)
        assert found is not None and found.state == "done" and kept_pieces(bank) == 0
