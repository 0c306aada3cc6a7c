"""Single sign-on at a provider that is not ours: oidc-provider-mock (Authlib), as it comes. It does otherwise than the
one of the other tests: `aud` is a list, it says no `iss` beside a code, takes no note of `max_age` and `prompt`, and
names no PKCE among what it knows."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from otp_core.model import Role
from sekisho.cli.doctor_sign_on import examine_sign_on
from tests.sekisho import free_port
from tests.web.console import Console, ConsoleClient, console
from tests.web.sign_on import gone_to, led_on, sent_on


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def asked(address: str, **form: str) -> tuple[int, str, str]:
    """Status, Location and text of an answer. ``form``: posted, if there is any."""
    data = urlencode(form).encode() if form else None
    opener = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(address, data, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with closing(answer):
        return answer.status, answer.headers["Location"] or "", answer.read().decode()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--host", "localhost"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "running" in line.lower():
                break
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, issuer: str) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("console")
    secret: Path = folder / "oidc.secret"
    secret.write_text("as secret as it gets\n")
    secret.chmod(0o600)
    lines = ["[console.oidc]", f'issuer = "{issuer}"', 'client_id = "sekisho"', f'client_secret_file = "{secret}"']
    with console(folder, more='trusted_proxies = ["127.0.0.0/8"]', other="\n".join(lines)) as running:
        yield running


def signed_in_there(address: str, subject: str) -> str:
    """Where the provider sends the browser back to, when somebody has signed in."""
    status, _, text = asked(address)
    assert status == 200 and 'name="sub"' in text
    status, back, text = asked(address, sub=subject)
    assert status == 302, text
    return back


def test_staff_links_signs_in_and_signs_out_at_a_provider_that_is_not_ours(bank: Console, issuer: str) -> None:
    client = bank.client(Role.SUPERVISOR)
    answer = led_on(client, bank, signed_in_there(gone_to(client, "/me/sign-on/new"), "hanako"))
    linked = sent_on(client, answer)
    assert "Linked: hanako" in linked.text, (linked.wrong, bank.log()[-2000:])

    other = ConsoleClient(bank)
    back = signed_in_there(gone_to(other, "/sign-in/oidc?to=/me"), "hanako")
    assert "iss" not in parse_qs(urlsplit(back).query)
    signed = led_on(other, bank, back)
    assert "supervisor" in signed.text and signed.title.startswith("Your sign-in"), signed.title

    out = other.post("/leave")
    (leave,) = re.findall(r'href="(/sign-in/oidc/leave)"', out.text)
    there = gone_to(other, leave)
    assert there.startswith(f"{issuer}/") and "id_token_hint" not in there
    fields = {name: value for name, (value,) in parse_qs(urlsplit(there).query).items()}
    assert fields == {"client_id": "sekisho", "post_logout_redirect_uri": f"{bank.origin}/sign-in/oidc/left"}
    status, _, text = asked(there)
    assert status == 200 and fields["post_logout_redirect_uri"] in html.unescape(text), "it asks the person"
    ended = asked(f"{issuer}/oauth2/end_session/confirm", redirect_uri=fields["post_logout_redirect_uri"])
    assert ended[:2] == (302, fields["post_logout_redirect_uri"])
    assert "back from the provider" in html.unescape(other.get("/sign-in/oidc/left").text)


def test_a_stranger_there_is_nobody_here(bank: Console) -> None:
    client = ConsoleClient(bank)
    answer = led_on(client, bank, signed_in_there(gone_to(client, "/sign-in/oidc"), "somebody-else"))
    assert "nobody here is linked" in html.unescape(answer.text) and "console" not in client.cookies


def test_another_site_signs_nobody_out(bank: Console) -> None:
    answer = ConsoleClient(bank).ask("GET", "/sign-in/oidc/leave", None, Sec_Fetch_Site="cross-site")
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")


def test_doctor_prints_what_is_to_be_registered_there(bank: Console) -> None:
    found = [str(one.text) for one in examine_sign_on(bank.sekisho.settings)]
    assert any("post-logout redirect URI" in one and one.endswith(f"{bank.origin}/sign-in/oidc/left") for one in found)
    assert any("does not say that it knows PKCE" in one for one in found)
