"""The bank's logo and colour: legible whatever is chosen, examined before it is served, the same on both sites."""

from __future__ import annotations

import base64
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect

from admin_web.colours import LEAST_CONTRAST, contrast, palette, read_colour
from admin_web.logo import MAX_LOGO_BYTES, UnusableLogo, read_logo
from tests.journeys.command_line import CommandLine
from tests.sekisho import Sekisho
from tests.web.browser import axe, browser_page, screenshot
from tests.web.portal import PortalClient
from tests.web.softtoken import set_up_by_pin
from tests.web.test_portal_and_soft_token import Both, served

GREEN = "#135e46"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="18" fill="#135e46"/></svg>'
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 40 + b"\xff\xd9"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("brand")
    (folder / "logo.svg").write_text(SVG)
    yield from served(folder, f'logo = "logo.svg"\ncolour = "{GREEN}"\n')


@given(st.integers(0, 0xFFFFFF))
def test_whatever_colour_is_accepted_every_text_on_it_is_legible(number: int) -> None:
    colour = f"#{number:06x}"
    try:
        read_colour(colour)
    except ValueError as error:
        better = re.search(r'"(#[0-9a-f]{6})"', str(error))
        assert better and read_colour(better[1]) == better[1]
        assume(False)
    of = palette(colour)
    pairs = [(of.key, "#ffffff"), (of.dark, "#ffffff"), (of.dark, of.tint), (of.light, of.night), (of.light, "#161618")]
    assert [pair for pair in pairs if contrast(*pair) < LEAST_CONTRAST] == []


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48
    assert read_colour("#0AF".replace("AF", "05")) == "#000055"


@pytest.mark.parametrize("text", ["green", "#12345", "135e46", "#gggggg", "", "#135e46;}", "#135e46\n", "#１３５e46"])
def test_what_is_no_colour_is_said_with_the_right_form(text: str) -> None:
    with pytest.raises(ValueError, match="#135e46"):
        read_colour(text)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [("a.png", PNG, "image/png"), ("a.jpg", JPEG, "image/jpeg"), ("a.svg", SVG.encode(), "image/svg+xml")],
)
def test_a_picture_is_known_by_what_it_holds_and_not_by_its_name(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    for called in (name, "logo"):
        (tmp_path / called).write_bytes(content)
        assert read_logo(tmp_path / called).content_type == kind


BAD = {
    "empty": b"",
    "text": b"hello",
    "html": b"<html><body>x</body></html>",
    "gif": b"GIF89a" + b"\0" * 30,
    "broken": SVG.encode()[:-3],
    "script": SVG.replace("<circle", "<script>alert(1)</script><circle").encode(),
    "handler": SVG.replace("<circle", '<circle onload="alert(1)"').encode(),
    "foreign": SVG.replace("<circle", "<foreignObject/><circle").encode(),
    "elsewhere": SVG.replace("<circle", '<image href="http://evil.example/x.png"/><circle').encode(),
    "entities": b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.encode(),
    "large": PNG + b"\0" * MAX_LOGO_BYTES,
    "not-svg": SVG.replace("http://www.w3.org/2000/svg", "urn:x").encode(),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_more_or_less_than_a_picture_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "logo").write_bytes(BAD[name])
    with pytest.raises(UnusableLogo):
        read_logo(tmp_path / "logo")


def test_config_check_names_what_is_wrong_with_logo_and_colour(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_bytes(BAD["script"])
    sekisho = Sekisho(tmp_path, more='[web]\nlogo = "logo.svg"\n')
    try:
        at = CommandLine(sekisho)
        said = at.run("config", "check", code=3).err
        assert "web.logo" in said and "<script>" in said
        for colour, word in (("#80c0a0", "contrast of 2."), ("green", "#135e46")):
            sekisho.more = f'[web]\ncolour = "{colour}"\n'
            sekisho.write_config()
            assert word in " ".join(at.run("config", "check", code=3).err.split())
        sekisho.more = f'[web]\ncolour = "{GREEN}"\n'
        sekisho.write_config()
        at.run("config", "check")
    finally:
        sekisho.close()


@pytest.mark.parametrize(("phone", "language"), [(True, "ja"), (False, "en")])
def test_the_portal_wears_the_banks_logo_and_colour(chromium: Browser, both: Both, phone: bool, language: str) -> None:
    with browser_page(chromium, phone=phone, language=language) as page:
        for path in ("/", "/enrol", "/lost"):
            page.goto(both.portal.origin + path)
            expect(page.locator("header img.logo")).to_be_visible()
            assert page.locator("header img.logo").evaluate("e => e.naturalWidth") > 0
            assert page.locator("header").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(19, 94, 70)"
            assert axe(page) == []
        button = page.locator("main a.button").evaluate("e => getComputedStyle(e).backgroundColor")
        assert button == "rgb(19, 94, 70)"
        page.goto(f"{both.portal.origin}/enrol")
        screenshot(page, f"portal-of-the-bank-{language}-{'phone' if phone else 'desktop'}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_soft_token_wears_them_too(chromium: Browser, both: Both, scheme: str) -> None:
    with browser_page(chromium, scheme=scheme) as page:  # type: ignore[arg-type]
        page.goto(both.token)
        set_up_by_pin(page)
        assert page.locator("header img").evaluate("e => e.naturalWidth") > 0
        assert "/logo" in (page.locator("header img").get_attribute("src") or "")
        assert axe(page) == []
        if scheme == "light":
            screenshot(page, "token-of-the-bank-ja-light")
            colour = page.locator("#copy-code").evaluate("e => getComputedStyle(e).backgroundColor")
            assert colour == "rgb(19, 94, 70)"


def test_the_logo_is_served_as_a_picture_that_can_do_nothing(both: Both) -> None:
    page = PortalClient(both.portal).get("/").text
    found = re.search(r'<img class="logo" src="([^"]+)" alt=""', page)
    assert found
    for address in (both.portal.origin + found[1], f"{both.token}/logo"):
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310  of this machine
            assert answer.headers["Content-Type"] == "image/svg+xml"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            assert answer.read().decode() == SVG


def test_a_changed_logo_is_served_at_once_and_a_broken_one_left_out(both: Both) -> None:
    client, file = PortalClient(both.portal), both.portal.sekisho.folder / "logo.svg"
    before = client.get("/").text
    try:
        file.write_text(SVG.replace("18", "19"))
        changed = client.get("/").text
        assert 'class="logo"' in changed and changed != before
        file.write_text("broken")
        assert 'class="logo"' not in client.get("/").text
        both.portal.sekisho.wait_for_log("the logo cannot be used")
    finally:
        file.write_text(SVG)
