"""What the comparison asks of a server, whoever wrote it: start, one door, one credential a login, an honest label."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.load import Credential, Door
from benchmarks.processes import Process

ACCEPT, REJECT, SILENCE = "Access-Accept", "Access-Reject", "silence"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    process: Process
    door: Door


class Contender(Protocol):
    """`answers`: what each probe (probes.py) must get before anything is measured.

    Printed with the results: `title`; `setup`, how it was configured; `lacks`, what it does not do.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def setup(self) -> str: ...
    @property
    def lacks(self) -> str: ...
    @property
    def answers(self) -> Mapping[str, str]: ...

    def start(self, folder: Path, customers: int) -> AbstractContextManager[Running]:
        """Serves customers 0 to customers - 1 from an empty folder."""

    def credential(self, number: int, step: int) -> Credential:
        """The login of this customer that has to be accepted in this step."""


# What a server that checks a code owes to every probe; whether it takes a code twice is each one's own row.
CODE_DEMANDED: Mapping[str, str] = {
    "the right code": ACCEPT,
    "a wrong code": REJECT,
    "an empty password": REJECT,
    "no password": REJECT,
    "a static password": REJECT,
    "an unknown customer": REJECT,
    "no Message-Authenticator": SILENCE,
}
