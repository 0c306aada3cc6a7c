"""`make install PREFIX=…` as an operator runs it: a release beside the older ones, the way back, what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEKISHO", "PYTHON"))}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@dataclass
class Host:
    """What a machine is on the page: opt/ for /opt/sekisho, host/ for its /etc and /var, one server for systemd."""

    folder: Path
    server: subprocess.Popen[bytes] | None = None
    run: list[str] = field(default_factory=list)

    def do(self, line: str) -> None:
        """One command of the page."""
        self.run.append(line)
        match line.partition("  #")[0].split():
            case ["make", target, _, *more]:
                done = make(target, f"PREFIX={self.folder}/opt", f"DESTDIR={self.folder}/host", *more)
                assert done.returncode == 0, done.stdout + done.stderr
            case ["sekisho", *words]:
                assert self.sekisho(*words).wait() == 0, line
            case ["systemctl", "enable", "--now", "sekisho"] | ["systemctl", "start", "sekisho"]:
                assert self.server is None
                self.server = self.sekisho("serve")
                wait_for(lambda: b"ready" in (self.folder / "log").read_bytes())
            case ["systemctl", "stop", "sekisho"]:
                self.stop()
            case ["chown", "sekisho:sekisho", files]:
                assert list(self.folder.glob(f"host{files}"))
            case words:
                raise AssertionError(words)

    def sekisho(self, *words: str) -> subprocess.Popen[bytes]:
        """The installed command, with the settings that stand in host/etc."""
        words = tuple(word.replace("/var/backups", str(self.folder)) for word in words)
        settings = self.folder / "host" / "etc" / "sekisho" / "sekisho.toml"
        command = [str(self.folder / "opt" / "bin" / "sekisho"), "--config", str(settings), *words]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})

    def stop(self) -> None:
        """End the server, if one runs."""
        if self.server is not None:
            self.server.terminate()
            assert self.server.wait(30) == 0
            self.server = None


def commands_under(heading: str) -> list[str]:
    """The indented lines of a section of docs/operations.md."""
    page = (ROOT / "docs" / "operations.md").read_text()
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    return re.findall(r"^    (\S.*)$", section[1], re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which every command of "Install" and of "Upgrade" was run in its order; those of the way back were
    not."""
    host = Host(tmp_path_factory.mktemp("install"))
    (host.folder / "sekisho").mkdir()
    try:
        for line in commands_under("Install"):
            host.do(line)
            if line.startswith("make"):
                settings = host.folder / "host" / "etc" / "sekisho" / "sekisho.toml"
                assert settings.read_text() == (ROOT / "config" / "sekisho.toml").read_text()
                settings.write_text(settings_of(host.folder))
        for line in commands_under("Upgrade, and the way back"):
            if line == "systemctl stop sekisho" and "make install" not in host.run[-1]:
                break
            host.do(line)
        assert [line for line in host.run if line.startswith("make install")] == [
            "make install PREFIX=/opt/sekisho"
        ] * 2
        assert host.server is not None
        yield host.folder
    finally:
        host.stop()


def settings_of(folder: Path) -> str:
    """The smallest that work: no port is opened."""
    return f"""# mine
[store]
url = "sqlite:///{folder}/host/var/lib/sekisho/sekisho.db"
master_key_file = "{folder}/host/etc/sekisho/master.key"
"""


def wait_for(condition: Callable[[], bool]) -> None:
    """At most 30 seconds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def releases(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "opt" / "releases").iterdir())


def test_a_release_is_whole_and_does_not_need_the_source(place: Path, tmp_path: Path) -> None:
    program = (place / "opt" / "bin" / "sekisho").resolve()
    ask = "import sekisho.cli, admin_web; print(sekisho.__file__, admin_web.__file__)"
    said = subprocess.run(
        [program.with_name("python"), "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(Path(file).is_relative_to(place / "opt" / "releases") for file in said.stdout.split())
    subprocess.run([place / "opt" / "bin" / "sekisho", "init", "--help"], cwd=tmp_path, check=True, capture_output=True)


def test_settings_folders_units_and_completion_are_there(place: Path) -> None:
    host, opt = place / "host", place / "opt"
    assert (host / "etc" / "sekisho" / "sekisho.toml").stat().st_mode & 0o777 == 0o640
    assert (host / "var" / "lib" / "sekisho").stat().st_mode & 0o777 == 0o700
    unit = (host / "etc" / "systemd" / "system" / "sekisho.service").read_text()
    assert f"ExecStart={opt}/bin/sekisho " in unit
    assert "/opt/sekisho" not in unit.replace(str(opt), "")
    assert (host / "usr" / "local" / "bin" / "sekisho").resolve() == (opt / "bin" / "sekisho").resolve()
    bash = host / "etc" / "bash_completion.d" / "sekisho"
    assert "complete -o default -F _sekisho_completion sekisho" in bash.read_text()
    assert (opt / "share" / "zsh" / "site-functions" / "_sekisho").read_text().startswith("#compdef sekisho")


def test_settings_that_are_there_are_left_alone_by_an_upgrade(place: Path) -> None:
    assert (place / "host" / "etc" / "sekisho" / "sekisho.toml").read_text() == settings_of(place)


def test_the_way_back_is_to_the_release_before_and_removes_none(place: Path) -> None:
    older, newer = releases(place)
    link = place / "opt" / "bin"
    assert link.resolve().parent.name == newer
    assert commands_under("Upgrade, and the way back")[-2] == "make rollback PREFIX=/opt/sekisho"
    done = make("rollback", f"PREFIX={place}/opt")
    assert (done.returncode, link.resolve().parent.name) == (0, older), done.stderr
    assert "systemctl restart sekisho" in done.stdout
    subprocess.run([link / "sekisho", "--version"], check=True, capture_output=True)
    done = make("rollback", f"PREFIX={place}/opt")
    assert done.returncode != 0
    assert "there is no release before" in done.stderr
    assert releases(place) == [older, newer]


@pytest.mark.parametrize("prefix", ["opt/sekisho", "/tmp/a b", "/tmp/$(id)"])
def test_a_prefix_that_would_not_work_is_refused(prefix: str) -> None:
    done = make("install", "PREFIX=" + prefix.replace("$", "$$"))
    assert done.returncode != 0
    assert "absolute path" in done.stderr or "letters, digits" in done.stderr


def test_a_release_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    done = make("install", f"PREFIX={tmp_path}/opt", f"DESTDIR={tmp_path}/host", "WHEEL=no-such.whl")
    assert done.returncode != 0
    assert "no-such.whl" in done.stderr
    assert list(tmp_path.iterdir()) == []
