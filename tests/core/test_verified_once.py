"""What a verifier says is used once: one answer for all copies of a request, and no code is right a second time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otp_core.authentication.verified_once import REMEMBERED_SECONDS, VerifiedOnce
from otp_core.first_factor.shared_answers import SharedAnswers
from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent
from otp_core.otp import Fit
from otp_core.store.schema import verified_code
from otp_core.verifier import CodeQuestion
from tests.core.bank import CODE, Bank
from tests.core.entrance import run


@dataclass
class SaysYes:
    """A service that does not use codes up."""

    silent: bool = False
    trouble: Finding | None = None
    asked: list[str] = field(default_factory=list)

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        self.asked.append(question.code)
        await asyncio.sleep(0.01)
        if self.silent:
            raise BackendSilent("it is down")
        return CodeFinding(question.token_id, Fit.WRONG if self.trouble else Fit.FITS, None, self.trouble)

    enrol = verify


def made(bank: Bank, service: SaysYes, answers: SharedAnswers, name: str = "vip") -> VerifiedOnce:
    return VerifiedOnce(name, service, bank.store, answers, bank.guarded.now)


def asked(code: str = "246802", token_id: str = "VSMT1", fingerprint: int = 0) -> CodeQuestion:
    attempt = Attempt("taro", code, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint)
    return CodeQuestion(token_id, code, "taro", attempt)


def test_of_two_logins_with_one_code_at_once_one_is_right(tmp_path: Path) -> None:
    bank, service, answers = Bank(tmp_path), SaysYes(), SharedAnswers()

    async def scene() -> None:
        one, other = made(bank, service, answers), made(bank, service, answers)
        found = await asyncio.gather(one.verify(asked(fingerprint=1)), other.verify(asked(fingerprint=2)))
        assert sorted(one.fit for one in found) == [Fit.FITS, Fit.REUSED]
        assert (await one.verify(asked(token_id="VSMT2"))).fit is Fit.FITS, "digits of another token"
        assert (await one.enrol(asked())).fit is Fit.REUSED
        assert (await made(bank, service, answers, "eg").verify(asked())).fit is Fit.FITS, "another service"

    run(scene)
    answers.close()


def test_copies_of_a_request_are_one_question_with_one_answer(tmp_path: Path) -> None:
    bank, answers = Bank(tmp_path), SharedAnswers()

    async def scene(service: SaysYes, code: str) -> list[CodeFinding]:
        verifiers = [made(bank, service, answers) for _ in range(3)]
        found = await asyncio.gather(*(one.verify(asked(code, fingerprint=7)) for one in verifiers))
        found.append(await verifiers[0].verify(asked(code, fingerprint=7)))
        assert service.asked == [code]
        return found

    async def both() -> None:
        assert await scene(SaysYes(), "246802") == [CodeFinding("VSMT1", Fit.FITS)] * 4
        trouble = Finding.TOKEN_LOCKED_THERE
        assert await scene(SaysYes(trouble=trouble), "1") == [CodeFinding("VSMT1", Fit.WRONG, None, trouble)] * 4

    run(both)
    answers.close()


def test_silence_is_kept_for_nobody(tmp_path: Path) -> None:
    bank, service, answers = Bank(tmp_path), SaysYes(silent=True), SharedAnswers()

    async def scene() -> None:
        verifier = made(bank, service, answers)
        with pytest.raises(BackendSilent, match="it is down"):
            await verifier.verify(asked(fingerprint=7))
        service.silent = False
        assert (await verifier.verify(asked(fingerprint=7))).fit is Fit.FITS

    run(scene)
    answers.close()


def test_a_code_is_remembered_for_an_hour_and_without_its_digits(tmp_path: Path) -> None:
    bank, service, answers = Bank(tmp_path), SaysYes(), SharedAnswers()

    async def scene() -> None:
        verifier = made(bank, service, answers)
        assert (await verifier.verify(asked())).fit is Fit.FITS
        bank.clock.now += REMEMBERED_SECONDS - 1
        assert (await verifier.verify(asked())).fit is Fit.REUSED
        bank.clock.now += 2
        assert (await verifier.verify(asked("135791"))).fit is Fit.FITS
        with bank.store.read() as connection:
            rows = connection.execute(verified_code.select()).all()
        assert len(rows) == 1, "what has run out is deleted"
        assert "246802" not in str(rows) and "135791" not in str(rows)

    run(scene)
    answers.close()
