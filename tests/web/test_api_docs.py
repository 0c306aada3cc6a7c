"""GET /api/v1/docs: the page says what the document says, its calls are ones that the API takes, it asks nobody for
anything, and axe finds nothing.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.web.api import Api, api
from tests.web.browser import axe, browser_page, overflows, screenshot

DOCS = "/api/v1/docs"
TAKEN = (200, 202, 404, 409, "code-refused")
"""Answers to a call that was understood: the bank of the test has nobody in it."""


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 10000") as running:
        yield running


@pytest.fixture(scope="module")
def page(bank: Api) -> str:
    told = bank.get(DOCS)
    assert (told.status, told.headers.get_content_type()) == (200, "text/html")
    return html.unescape(str(told.json))


def test_the_page_says_what_the_document_says(bank: Api, page: str) -> None:
    document = bank.get("/api/v1/openapi.json").json
    plain = re.sub(r"</?(?:code|a|b)\b[^>]*>", "", page)
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            assert f"{method.upper()} {path}" in plain and one["summary"] in plain
            section = page.partition(f'<section id="{one["operationId"]}"')[2].partition("</section>")[0]
            for status, answer in one["responses"].items():
                assert f'<th scope="row">{status}</th>' in section
                assert answer["description"].replace("`", "") in re.sub("</?code>", "", section)
                assert all(name in section for name in answer.get("headers", {}))
            assert all(f"<code>{each['name']}</code>" in section for each in one.get("parameters", []))
            assert all(
                f"`{scope}`".strip("`") in section for scope in re.findall("`(.*?)`", one.get("description", ""))
            )
    for name, schema in document["components"]["schemas"].items():
        section = page.partition(f'<section id="model-{name}"')[2].partition("</section>")[0]
        for field in (*schema.get("properties", {}), *schema.get("enum", [])):
            assert f"<code>{field}</code>" in section, (name, field)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page)), (
        "every link leads somewhere"
    )


def test_every_call_of_the_page_is_one_that_the_api_takes(bank: Api, page: str) -> None:
    key = bank.key("reader")
    calls = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page)
    assert len(calls) == page.count("<section id=") - page.count('<section id="model-')
    for call in calls:
        line = f"{call} -w '\\n%{{http_code}}'".replace("localhost", "127.0.0.1")
        environment = {**os.environ, "KEY": key}
        done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=60)
        answer, _, status = done.stdout.rpartition("\n")
        assert int(status) in TAKEN or json.loads(answer)["type"] in TAKEN, done.stdout


def test_the_page_asks_nobody_for_anything(bank: Api, page: str) -> None:
    policy = bank.get(DOCS).headers["Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        policy,
    )
    assert not re.search(r"<(?:script|link|img|iframe|form)\b|\ssrc=|\sstyle=|url\(|@import", page)
    assert set(re.findall(r'href="([^#"][^"]*)"', page)) == {"openapi.json"}
    assert bank.get(f"{DOCS}?himitsu=1").problem == (422, "ill-formed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(bank: Api, chromium: Browser, scheme: Literal["light", "dark"]) -> None:
    """Light on a telephone, dark on a desk. One operation with a query and one with a body: the others are made by the
    same lines of the template, and axe would take a quarter of a minute for them."""
    with browser_page(chromium, phone=scheme == "light", language="en", scheme=scheme) as shown:
        shown.goto(f"http://127.0.0.1:{bank.port}{DOCS}")
        background = "getComputedStyle(document.querySelector('pre')).backgroundColor"
        assert shown.evaluate(background) != "rgba(0, 0, 0, 0)", "the policy lets its own style in"
        screenshot(shown, f"api-docs-{scheme}")
        assert not overflows(shown)
        others = "section:not(#listCustomers, #changeDevice, #model-Problem, #model-ProblemType)"
        shown.evaluate("others => document.querySelectorAll(others).forEach(one => one.remove())", others)
        assert axe(shown) == []
