"""The README keeps its word: what it shows of the program is what the program says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from otp_core.settings import markdown_table
from sekisho.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_configuration_table_is_the_settings_own() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    table = settings.partition("<!-- settings -->\n")[2].partition("<!-- end of settings -->")[0]
    assert table.strip() == markdown_table(Settings).strip(), "run `make docs`"


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = {link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link}
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\.venv/bin/sekisho --config \S+ ([a-z-]+(?: [a-z-]+)?)", README))
    assert {"config check", "init", "token import", "customer import", "serve"} <= named
    for words in named:
        command = [sys.executable, "-m", "sekisho", *words.split(), "--help"]
        if words.split()[0] in ("audit", "serve", "init"):
            command = [sys.executable, "-m", "sekisho", words.split()[0], "--help"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0, words


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+)`?", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
