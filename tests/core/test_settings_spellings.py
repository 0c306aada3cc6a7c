"""The keys of a client by which gateways' spellings are read: their values, and which do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.settings_files import CLIENT, STORE, good, report, warnings


def test_the_defaults_are_the_safe_ones(tmp_path: Path) -> None:
    (client,) = good(tmp_path, STORE + CLIENT).settings.radius.clients
    assert (client.separator, client.code_position, client.realm) == (None, "after", "keep")
    assert (client.fold_case, client.cut_at_nul, client.nas_identifier, client.user_name_charset) == (
        False,
        False,
        None,
        None,
    )
    assert client.return_user_name == "when-different"


def test_all_of_them_are_taken(tmp_path: Path) -> None:
    text = (
        'mode = "append"\nseparator = ","\ncode_position = "before"\nrealm = "strip"\nfold_case = true\n'
        'cut_at_nul = true\nnas_identifier = "vpn 営業店"\nuser_name_charset = "euc-jp"\ncharset = "cp1252"\n'
        'return_user_name = "never"\n'
    )
    assert good(tmp_path, STORE + CLIENT + text).warnings == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('separator = "1"', 'separator: needs 1 to 3 printable characters, none of them a digit: ","'),
        ('separator = ",５"', 'separator: needs 1 to 3 printable characters, none of them a digit: ","'),
        ('separator = "\\u0000"', 'separator: needs 1 to 3 printable characters, none of them a digit: ","'),
        ('separator = ""', "separator: is too short: 1 is the least"),
        ('separator = "::::"', "separator: is too long: 3 characters are the most"),
        ('code_position = "middle"', "code_position: is not known; write 'after' or 'before'"),
        ('realm = "cut"', "realm: is not known; write 'keep', 'strip' or 'reject'"),
        ('fold_case = "yes"', "fold_case: needs true or false, without quotes"),
        ("cut_at_nul = 1", "cut_at_nul: needs true or false, without quotes"),
        ('nas_identifier = ""', "nas_identifier: is too short: 1 is the least"),
        (f'nas_identifier = "{"金" * 85}"', "nas_identifier: needs printable text of at most 253 octets"),
        ('return_user_name = "yes"', "return_user_name: is not known; write 'when-different', 'always' or 'never'"),
    ],
)
def test_a_wrong_value_gets_the_right_form(tmp_path: Path, line: str, said: str) -> None:
    assert report(tmp_path, STORE + CLIENT + line) == [f"sekisho.toml:8: radius.clients[0].{said}"]


def other(name: str, more: str) -> str:
    return CLIENT.replace('"vpn"', f'"{name}"') + more


def test_one_network_may_have_several_clients_if_their_nas_identifiers_differ(tmp_path: Path) -> None:
    several = CLIENT + other("a", 'nas_identifier = "a"\n') + other("b", 'nas_identifier = "b"\n')
    assert len(good(tmp_path, STORE + several).settings.radius.clients) == 3
    again = several + other("c", 'nas_identifier = "a"\n') + other("d", "")
    assert report(tmp_path, STORE + again) == [
        'sekisho.toml:20: radius.clients[3].network: 10.1.0.0/16 with nas_identifier "a" is given twice; the first is '
        "at sekisho.toml:10",
        "sekisho.toml:25: radius.clients[4].network: 10.1.0.0/16 is given twice; the first is at sekisho.toml:6",
    ]


@pytest.mark.parametrize("line", ['separator = ","', 'code_position = "before"'])
def test_what_changes_nothing_in_a_mode_is_a_warning(tmp_path: Path, line: str) -> None:
    for mode in ("challenge", "code", "password"):
        (said,) = warnings(good(tmp_path, STORE + CLIENT + f'mode = "{mode}"\n{line}\n'), tmp_path)
        assert said.endswith(f"changes nothing in mode {mode}: only append and auto split a text")
    for mode in ("append", "auto"):
        assert good(tmp_path, STORE + CLIENT + f'mode = "{mode}"\n{line}\n').warnings == ()


@pytest.mark.parametrize(
    ("separator", "charset", "never"), [("、", "latin-1", True), ("，", "latin-1", False), ("、", "cp932", False)]
)
def test_a_separator_that_the_charset_has_not_is_a_warning(
    tmp_path: Path, separator: str, charset: str, never: bool
) -> None:
    lines = f'mode = "append"\nseparator = "{separator}"\ncharset = "{charset}"\n'
    said = warnings(good(tmp_path, STORE + CLIENT + lines), tmp_path)
    assert [one for one in said if "no code is ever found" in one] == said and bool(said) is never
