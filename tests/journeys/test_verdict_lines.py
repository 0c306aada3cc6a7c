"""An operator reads the log of a server with every door open: one vocabulary, the audit trail's numbers, nobody's
password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pam_module.frames import ResultCode
from tests.pam.host import login, wait_for
from tests.radius.tools import heard, radclient
from tests.radius.tools import login as attributes
from tests.sekisho import PASSWORD, Customer, Sekisho, client_table, free_port
from tests.web.portal import Portal, PortalClient

FIELDS = {"door", "verdict", "client", "nas", "source", "customer", "token", "reason", "round", "ms", "id", "node"}
UNSIGNED, CHALLENGE, CODE = "127.0.0.7", "127.0.0.8", "127.0.0.9"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portal, Path]]:
    folder = tmp_path_factory.mktemp("lines")
    port, pam = free_port(), folder / "pam.sock"
    more = f'[web]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n[pam]\nsocket = "{pam}"\n'
    clients = client_table("challenge", CHALLENGE, "challenge") + client_table("code", CODE, "code")
    clients += client_table("unsigned", UNSIGNED, "append", require_message_authenticator="false", charset='"latin-1"')
    sekisho = Sekisho(folder, clients=clients, more=more)
    try:
        sekisho.start()
        wait_for(pam)
        yield Portal(sekisho, port), pam
    finally:
        sekisho.close()


def lines(sekisho: Sekisho, since: int) -> list[dict[str, str]]:
    """The lines about verdicts behind this position of the log."""
    found = [line for line in sekisho.log_text()[since:].splitlines() if "] verdict" in line]
    pairs = [re.findall(r"(\w+)=('[^']*'|\"[^\"]*\"|\S+)", line) for line in found]
    return [{key: value.strip("'\"") for key, value in one} for one in pairs]


def line(sekisho: Sekisho, since: int) -> dict[str, str]:
    """The one line, once it is written."""
    sekisho.wait_for_log("] verdict", since=since)
    (only,) = lines(sekisho, since)
    return only


def ask(sekisho: Sekisho, source: str, user: str, text: str, **more: str) -> str:
    secret = {"secret": more["secret"]} if "secret" in more else {}
    extra = f",{more['extra']}" if "extra" in more else ""
    packet = f"Packet-Src-IP-Address={source},{attributes(user, text)}{extra}"
    return heard(radclient(sekisho.port, packet, signed=source != UNSIGNED, **secret))  # type: ignore[arg-type]


def far(one: Customer) -> str:
    """A code of some steps ago that fits no step near now."""
    near = {one.code(away) for away in range(-2, 3)}
    return next(code for away in range(-5, -15, -1) if (code := one.code(away)) not in near)


def test_every_door_writes_the_same_fields_and_the_number_of_the_audit_row(served: tuple[Portal, Path]) -> None:
    portal, pam = served
    sekisho, one = portal.sekisho, portal.sekisho.customer()

    def by_radius() -> None:
        station = 'NAS-Identifier="gw1",Calling-Station-Id="203.0.113.7"'
        assert ask(sekisho, CODE, one.contract_id, far(one), extra=station) == "Access-Reject"

    def by_pam() -> None:
        assert login(pam, one.contract_id, "wrong-password").code == ResultCode.AUTH_ERR

    def by_web() -> None:
        PortalClient(portal).post("/enrol", contract_id=one.contract_id, password="wrong-password")

    for door, act in (("radius", by_radius), ("pam", by_pam), ("web", by_web)):
        since = len(sekisho.log_text())
        act()
        found = line(sekisho, since)
        row = sekisho.audit(one.contract_id)[-1]
        assert set(found) <= FIELDS and FIELDS - set(found) <= {"nas", "token", "round"}
        assert (found["door"], found["verdict"], found["customer"]) == (door, "rejected", one.contract_id)
        assert (found["id"], found["client"], found["source"]) == (str(row.id), row.actor, row.source)
        assert found["reason"].startswith(row.reason)


def test_a_late_code_is_called_late_and_the_audit_trail_and_the_answer_say_nothing_of_it(
    served: tuple[Portal, Path],
) -> None:
    sekisho = served[0].sekisho
    one, since = sekisho.customer(), len(sekisho.log_text())
    assert ask(sekisho, CODE, one.contract_id, far(one)) == "Access-Reject"
    found = line(sekisho, since)
    assert re.fullmatch(r"wrong code: correct code, \d+ steps late", found["reason"])
    assert found["token"] == one.token_id
    assert sekisho.audit(one.contract_id)[-1].reason == "wrong code"


def test_another_secret_is_called_a_wrong_secret(served: tuple[Portal, Path]) -> None:
    sekisho = served[0].sekisho
    one, since = sekisho.customer(), len(sekisho.log_text())
    ask(sekisho, UNSIGNED, one.contract_id, PASSWORD, secret="another-secret-entirely")
    assert line(sekisho, since)["reason"].endswith(": wrong secret likely")


def test_a_password_typed_as_the_name_is_in_no_line_and_no_row(served: tuple[Portal, Path]) -> None:
    portal, pam = served
    typed, since = "watashi-no-himitsu", len(portal.log())
    ask(portal.sekisho, CHALLENGE, typed, "x")
    ask(portal.sekisho, CODE, typed, "123456")
    radclient(portal.sekisho.port, f'Packet-Src-IP-Address={CODE},User-Name="{typed}",CHAP-Password="x"')
    login(pam, typed, "wrong-password")
    PortalClient(portal).post("/enrol", contract_id=typed, password="wrong-password")
    portal.sekisho.wait_for_log("] verdict", times=5, since=since)
    found = lines(portal.sekisho, since)
    assert len({one["customer"] for one in found}) == 1, "it is recognised at every door"
    assert found[0]["customer"].startswith("name:")
    rows = portal.sekisho.audit(typed)
    assert [row.actor for row in rows] == ["challenge", "code", "code", "pam:default", "web"]
    assert typed not in portal.log() and typed not in repr(portal.sekisho.audit())


def test_only_refusals_are_written_by_default(served: tuple[Portal, Path]) -> None:
    sekisho = served[0].sekisho
    one, since = sekisho.customer(), len(sekisho.log_text())
    assert ask(sekisho, CHALLENGE, one.contract_id, PASSWORD) == "Access-Challenge"
    assert ask(sekisho, CODE, one.contract_id, one.code()) == "Access-Accept"
    assert ask(sekisho, CODE, one.contract_id, one.code()) == "Access-Reject"
    assert line(sekisho, since)["reason"] == "reused code"


def test_static_files_are_no_lines(served: tuple[Portal, Path]) -> None:
    portal, since = served[0], len(served[0].log())
    client = PortalClient(portal)
    page = client.get("/enrol")
    (style,) = set(re.findall(r'href="(/static/[^"]+\.css)"', page.text))
    assert client.get(style).status == 200
    assert client.get("/static/none/none.css").status == 404
    portal.sekisho.wait_for_log("path=/static/none/none.css", since=since)
    assert f"path={style}" not in portal.log()[since:]
