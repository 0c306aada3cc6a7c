"""Where a key stands: the line found is the line written, whatever the text around it looks like."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from otp_core.settings.toml_lines import Location, key_lines


def test_tables_keys_and_list_elements_are_found() -> None:
    text = """\
# [not.a.table]
title = "a = 1"

[store]          # line 4
url = 'sqlite:///x'

[[radius.clients]]
name = "first"
[[radius.clients]]
name = "second"
networks = [
    "10.0.0.0/8",   # ] not the end

    "10.1.0.0/16"]
[radius.clients.reply_messages]
reject.ja = "いいえ"
"""
    assert key_lines(text) == {
        ("title",): 2,
        ("store",): 4,
        ("store", "url"): 5,
        ("radius",): 7,
        ("radius", "clients"): 7,
        ("radius", "clients", 0): 7,
        ("radius", "clients", 0, "name"): 8,
        ("radius", "clients", 1): 9,
        ("radius", "clients", 1, "name"): 10,
        ("radius", "clients", 1, "networks"): 11,
        ("radius", "clients", 1, "networks", 0): 12,
        ("radius", "clients", 1, "networks", 1): 14,
        ("radius", "clients", 1, "reply_messages"): 15,
        ("radius", "clients", 1, "reply_messages", "reject"): 16,
        ("radius", "clients", 1, "reply_messages", "reject", "ja"): 16,
    }


def test_lines_inside_a_text_are_no_lines_of_keys() -> None:
    text = 'a = """\nb = 1\n\\"""\n[c]\n""""\nd = \'\'\'\n[e]\n\'\'\'\'\'\nf = 1979-05-27 07:32:00\r\n\r\ng = -1.5e3'
    assert key_lines(text) == {("a",): 1, ("d",): 6, ("f",): 9, ("g",): 11}


def test_a_table_that_is_named_later_stands_where_it_is_named() -> None:
    assert key_lines("[a.b]\n[a]\nc = 1")["a",] == 2


def test_a_table_that_is_made_by_dotted_keys_stands_where_it_begins() -> None:
    assert key_lines("a.b = 1\na.c = 2") == {("a",): 1, ("a", "b"): 1, ("a", "c"): 2}


def test_keys_of_inline_tables_are_found() -> None:
    text = 'clients = [\n  { name = "a", "net.work" = "b" },\n  { x.y = [{}, {}] },\n]'
    assert key_lines(text) == {
        ("clients",): 1,
        ("clients", 0): 2,
        ("clients", 0, "name"): 2,
        ("clients", 0, "net.work"): 2,
        ("clients", 1): 3,
        ("clients", 1, "x"): 3,
        ("clients", 1, "x", "y"): 3,
        ("clients", 1, "x", "y", 0): 3,
        ("clients", 1, "x", "y", 1): 3,
    }


def test_an_empty_text_has_no_keys() -> None:
    assert key_lines("") == key_lines("# nothing\n") == {}


# Documents written at random, by a writer that remembers on which line it wrote what.

NAMES = st.text("ab-_09", min_size=1, max_size=3) | st.text("a .#=[]{}'\"\\\n語", max_size=4)
NUMBERS = st.sampled_from(["true", "-0.5", "6.6e-3", "inf", "0x1F", "07:32:00", "1979-05-27T07:32:00Z"])
TEXTS = st.sampled_from(['""', "''", '"#]}, = \\" \\\\"', "'\\'"])
LONG_TEXTS = st.sampled_from(
    ['"""\n[x]\ny = 1\n"" \\""" ""\\\n  """""', "'''\n# '' ]\n'''''", "''' [''''", '"""\r\n\\\\""""']
)
GAPS = st.sampled_from(["", " ", "\t"])
BREAKS = st.sampled_from(["", " ", "\n", "\r\n", ' # ] } , = "\n', "\n\n\t"])


class Writer:
    def __init__(self, draw: Callable[..., object]) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Location, int] = {}

    def write(self, text: object) -> None:
        self.text += str(text)

    def note(self, location: Location) -> None:
        self.lines[location] = self.text.count("\n") + 1

    def gap(self) -> None:
        self.write(self.draw(GAPS))

    def names(self) -> list[str]:
        return self.draw(st.lists(NAMES, unique=True, max_size=3))  # type: ignore[return-value]

    def name(self, name: str) -> None:
        bare = name and not set(name) - set("ab-_09")
        plain = not set(name) & set("'\n")
        self.write(self.draw(st.sampled_from([json.dumps(name), *[name] * bool(bare), *[f"'{name}'"] * plain])))

    def pair(self, table: Location, name: str, depth: int) -> None:
        self.note((*table, name))
        self.name(name)
        here: Location = (*table, name)
        if self.draw(st.booleans()):
            self.write(" .")
            self.gap()
            self.name("dotted")
            here = (*here, "dotted")
            self.note(here)
        self.gap()
        self.write("=")
        self.gap()
        self.value(here, depth)

    def value(self, here: Location, depth: int) -> None:
        kind = self.draw(st.sampled_from(["scalar", "list", "table"] if depth else ["scalar"]))
        if kind == "scalar":
            self.write(self.draw(NUMBERS | TEXTS | LONG_TEXTS))
        elif kind == "list":
            self.write("[")
            for index in range(self.draw(st.integers(0, 3))):  # type: ignore[call-overload]
                self.write("," if index else "")
                self.write(self.draw(BREAKS))
                self.note((*here, index))
                self.value((*here, index), depth - 1)
            self.write(self.draw(BREAKS))
            self.write("]")
        else:
            self.write("{")
            for index, name in enumerate(self.names()):
                self.write(", " if index else "")
                self.pair(here, name, depth - 1)
            self.write("}")

    def pairs(self, table: Location) -> None:
        for name in self.names():
            self.pair(table, name, 2)
            self.write(self.draw(st.sampled_from(["\n", "\r\n", ' # [no] = "\n', "\n\n"])))

    def header(self, location: Location, brackets: str) -> None:
        self.note(location)
        self.write(brackets)
        for index, name in enumerate(part for part in location if isinstance(part, str)):
            self.write(" . " if index else "")
            self.name(name)
        self.write("]" * len(brackets) + "\n")


@st.composite
def documents(draw: Callable[..., object]) -> Writer:
    writer = Writer(draw)
    writer.pairs(())
    for number, _ in enumerate(writer.names()):
        table = f"table {number}"
        if draw(st.booleans()):
            writer.header((table,), "[")
            writer.pairs((table,))
            continue
        writer.note((table,))
        for index in range(draw(st.integers(1, 3))):  # type: ignore[call-overload]
            writer.header((table, index), "[[")
            writer.pairs((table, index))
            writer.header((table, index, "under it"), "[")
            writer.pairs((table, index, "under it"))
    return writer


def locations(value: object, here: Location = ()) -> Iterator[Location]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield (*here, name)
        yield from locations(part, (*here, name))


@given(documents())
def test_the_line_found_is_the_line_written(written: Writer) -> None:
    found = key_lines(written.text)
    assert found == written.lines
    assert set(found) == set(locations(tomllib.loads(written.text)))
