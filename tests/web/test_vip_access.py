"""The open tool ``vipaccess``, its code as it is on PyPI, as a software token: provisioned here, enrolled in the
portal, logged in over RADIUS. Only its two addresses are set from outside: it has no option for them.
"""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.sekisho import STAFF, Sekisho, client_table, free_port
from tests.web.portal import Portal, PortalClient

_TOOL = """
import sys
from vipaccess import provision
provision.PROVISIONING_URL, provision.TEST_URL = sys.argv[1] + "/prov", sys.argv[1] + "/otpCheck"
sys.argv = ["vipaccess", *sys.argv[2:]]
from vipaccess.__main__ import main
main()
"""
REQUEST = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<GetSharedSecret Id="1" Version="2.0"\n xmlns="x">'
    '<TokenModel>SYMC</TokenModel><OtpAlgorithm type="HMAC-SHA1-TRUNC-6DIGITS"/></GetSharedSecret>'
)


@dataclass
class Both:
    portal: Portal
    token: str

    def tool(self, *words: str) -> str:
        """What ``vipaccess`` prints. It ends with 0."""
        command = [sys.executable, "-W", "ignore", "-c", _TOOL, self.token, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: str, **headers: str) -> tuple[int, str]:
        asked = urllib.request.Request(self.token + path, body.encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def served(folder: Path, more: str) -> Iterator[Both]:
    pages, token = free_port(), free_port()
    sections = (
        f'[web]\nlisten = "127.0.0.1:{pages}"\npublic_origin = "http://localhost:{pages}"\n'
        f'[soft_token]\nlisten = "127.0.0.1:{token}"\npublic_origin = "http://localhost:{token}"\n{more}\n'
    )
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "challenge"), more=sections)
    try:
        yield Both(Portal(sekisho.start(), pages), f"http://127.0.0.1:{token}")
    finally:
        sekisho.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    yield from served(tmp_path_factory.mktemp("both"), "vip_access = true")


def test_the_tool_is_provisioned_enrolled_and_logs_in(both: Both, tmp_path: Path) -> None:
    file, sekisho = tmp_path / "vipaccess", both.portal.sekisho
    printed = both.tool("provision", "-o", str(file))
    (token_id,) = re.findall(r"register this credential: (\w+)", printed)
    assert token_id.startswith("SKSO")
    assert "Token is valid and working." in both.tool("check", "-f", str(file))
    code = both.tool("show", "-f", str(file)).strip()
    one, client = sekisho.customer(enrolled=False), PortalClient(both.portal)
    client.sign_in(one)
    answer = client.post("/enrol/token", token_id=token_id, code=code, go="enrol")
    assert answer.path == "/enrol/done", "the self-checks have not spent the code"
    first = sekisho.login(one.contract_id, one.password).split()
    assert first[0] == "Access-Challenge"
    secret = dict(line.split(None, 1) for line in file.read_text().splitlines())["secret"].strip()
    oathtool = ["oathtool", "-b", "--totp", "-N", "now + 30 seconds", secret]
    following = subprocess.run(oathtool, capture_output=True, text=True, check=True).stdout.strip()
    assert sekisho.login(one.contract_id, following, state=first[1]) == "Access-Accept"
    assert both.post("/otpCheck", _form(token_id, following))[1].count("needs to be sync") == 1, (
        "it is a customer's now"
    )


def _form(token_id: str, code: str) -> str:
    return "&".join(f"cr{at}={digit}" for at, digit in enumerate(code, 1)) + f"&cred={token_id}&continue=otp_check"


def test_the_self_check_is_bounded_and_knows_a_wrong_code(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "vipaccess"
    both.tool("provision", "-o", str(file))
    kept = dict(line.split(None, 1) for line in file.read_text().splitlines())
    code, token_id = both.tool("show", "-f", str(file)).strip(), kept["id"].strip()
    wrong = "000000" if code != "000000" else "111111"
    assert "working correctly" in both.post("/otpCheck", _form(token_id, code))[1]
    for _ in range(30):
        assert "needs to be sync" in both.post("/otpCheck", _form(token_id, wrong))[1]
    assert "needs to be sync" in both.post("/otpCheck", _form(token_id, code))[1], "the right one, once too often"
    assert "needs to be sync" in both.post("/otpCheck", "cred=NOBODY00000001&cr1=x")[1]


def test_what_is_no_request_of_the_tool_gets_no_token(both: Both) -> None:
    for body in ("", "x" * 4000, REQUEST.replace("SYMC", "<!ENTITY a>"), REQUEST.replace("GetSharedSecret", "Get")):
        status, text = both.post("/prov", body)
        assert (status, "<Status>" in text) == (400, True)
    assert both.post("/prov", "x" * 5000)[0] == 413
    assert "4E0D" in both.post("/prov", REQUEST.replace("SHA1", "SHA256"))[1]
    assert both.post("/prov", REQUEST, Origin="https://elsewhere.example")[0] == 403
    assert both.post("/token", "")[0] == 403, "the app's own address goes on asking where a page comes from"
    answer = both.post("/prov", REQUEST)
    assert answer[0] == 200 and "Success" in answer[1]


def test_a_repeated_request_with_a_key_uses_up_no_second_token(both: Both, tmp_path: Path) -> None:
    key, file = secrets.token_urlsafe(24), tmp_path / "first"
    keyed = replace(both, token=both.token.replace("//", f"//provision:{key}@"))
    keyed.tool("provision", "-o", str(file))
    again = tmp_path / "again"
    keyed.tool("provision", "-o", str(again))
    kept, repeated = (dict(line.split(None, 1) for line in one.read_text().splitlines()) for one in (file, again))
    assert (kept["id"], kept["secret"]) == (repeated["id"], repeated["secret"])
    basic = [base64.b64encode(f"provision:{text}".encode()).decode() for text in (key, secrets.token_urlsafe(24))]
    assert kept["id"].strip() in both.post("/prov", REQUEST, Authorization=f"Basic {basic[0]}")[1]
    for header in (f"Basic {basic[1]}", None):
        status, text = both.post("/prov", REQUEST, **({"Authorization": header} if header else {}))
        assert status == 200 and kept["id"].strip() not in text
    short = base64.b64encode(b"provision:short").decode()
    for header in (f"Basic {short}", "Basic %", f"Bearer {key}"):
        assert both.post("/prov", REQUEST, Authorization=header)[0] == 400
    sekisho, one = both.portal.sekisho, both.portal.sekisho.customer(enrolled=False)
    code = both.tool("show", "-f", str(file)).strip()
    sekisho.desk.enrolment.enrol(one.contract_id, kept["id"].strip(), code, STAFF)
    assert both.post("/prov", REQUEST, Authorization=f"Basic {basic[0]}")[0] == 410, "it is a customer's now"
    assert key not in sekisho.log_text()


def test_tokens_for_the_tool_count_as_the_apps_do(tmp_path: Path) -> None:
    for both in served(tmp_path, "vip_access = true\ntokens_per_address = 1"):
        assert both.post("/prov", REQUEST)[0] == 200
        status, text = both.post("/prov", REQUEST)
        assert (status, "Too many tokens" in text) == (429, True)


def test_it_is_off_unless_it_was_asked_for(tmp_path: Path) -> None:
    for both in served(tmp_path, ""):
        assert both.post("/prov", REQUEST)[0] == 403
        assert both.post("/otpCheck", "cred=x")[0] == 403
