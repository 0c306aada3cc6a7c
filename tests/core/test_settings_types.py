"""A value of the wrong type is one problem at its line, whatever stands in place of what."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.settings_files import BY_FILE, STORE, report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[store]]\nurl = "x"\n', ["1: store: needs a table"]),
        (STORE + "[login]\nlock_after = [1]\n", ["5: login.lock_after: needs a whole number, without quotes"]),
        (STORE + "[login]\nlock_after = [[1], { a = 1 }]\n",
         ["5: login.lock_after: needs a whole number, without quotes"]),
        ("log = [{ level = 'info' }]\n" + STORE, ["1: log: needs a table"]),
        (STORE + "[[radius]]\nclients = []\n", ["4: radius: needs a table"]),
        (STORE + '[radius.clients]\nname = "a"\n', ['4: radius.clients: needs a list: ["…", "…"]']),
        (STORE + '[radius]\nclients = ["a"]\n', ["5: radius.clients[0]: needs a table"]),
        (STORE + '[pam]\nprofiles = { name = "a" }\n', ['5: pam.profiles: needs a list: ["…", "…"]']),
        (STORE + '[web]\nterms_file = ["a"]\n', ["5: web.terms_file: needs the name of a file, in quotes"]),
        (STORE + '[radius]\ndictionary = "a"\n', ['5: radius.dictionary: needs a list: ["…", "…"]']),
        (STORE + '[radius]\ndictionary = ["none", 5]\n', [
            "5: radius.dictionary[1]: needs the name of a file, in quotes",
            "5: radius.dictionary[0]: none is not a file"]),
        ('[store]\nurl = "sqlite:///s.db"\nmaster_key_file = ["a"]\n',
         ["3: store.master_key_file: needs the name of a file, in quotes"]),
        (STORE + BY_FILE.replace('secret_file = "vpn"', 'secret_file = ["vpn"]'),
         ["7: radius.clients[0].secret_file: needs the name of a file, in quotes"]),
    ],
)  # fmt: skip
def test_a_list_in_place_of_a_table_or_the_reverse_is_one_problem_at_its_line(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert report(tmp_path, text) == [f"sekisho.toml:{line}" for line in expected]
