"""The large bank is one that the product itself could have written."""

from pathlib import Path

import pytest
from sqlalchemy import select

from benchmarks import large_bank, tokens
from benchmarks.large_bank import BUSY, Size, contract_id, named
from otp_core.audit import Ids
from otp_core.store import audit_lookup
from otp_core.store.find import audit_page, find_customers
from otp_core.store.queries import AuditFilter, audit_rows, counts, customer_line
from otp_core.store.schema import customer, search_term
from otp_core.store.store import Store


def test_a_large_bank_is_found_its_way_about_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_lookup, "ROWS_OF_A_STRETCH", 50)
    url, key = f"sqlite:///{tmp_path}/s.db", tmp_path / "master.key"
    assert len(list(large_bank.fill(url, key, Size(120, 400)))) == 4
    store = Store(url, key, ids=Ids(), busy_seconds=1.0)
    with store.read() as connection:
        assert counts(connection) == {"customer": 120, "token": 120, "audit": 400}
        assert audit_lookup.closed_to(connection) > 0
        for number in (BUSY, 7, 119):
            line = customer_line(connection, contract_id(number))
            assert line is not None and (line.name, line.reading) == named(number)[1:3]
            found = {one.contract_id for one in find_customers(connection, named(number).email or "")}
            assert found == {contract_id(number)}
            customer_key = select(customer.c.key).where(customer.c.contract_id == contract_id(number)).scalar_subquery()
            terms = select(search_term.c.term).where(search_term.c.customer_key == customer_key)
            assert set(connection.execute(terms).scalars()) == named(number).terms()
            wanted = AuditFilter(customer=contract_id(number))
            scanned = audit_rows(connection, wanted, newest_first=True)
            assert audit_page(connection, wanted, limit=999).rows == scanned
    with store.work() as work:
        token = work.token(tokens.token_id(7))
    assert token is not None and token.seed is not None
    assert store.sealer.unseal(token.seed, token.token_id) == tokens.seed(7)
