"""Makes a new store's tables, and what only PostgreSQL needs: whatever changes a customer renews their tokens.

A login batch names the version of the token that it accepts a code for, and reads the customer beside it
(login_batch.py). So whatever a login is decided by must change the token's row too, whichever statement changed it:
triggers see to that. The end of a binding counts, its beginning does not: a customer's other tokens are good before
and after.

A new store is made by the schema as it stands, and needs none of the migrations of before, which only SQLite had; the
later ones run on both engines.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, text

from otp_core.audit import id_at
from otp_core.store.postgresql import partitions
from otp_core.store.postgresql.partitions import month_behind
from otp_core.store.schema import metadata

TRIGGERS = frozenset({"sekisho_customer_changed", "sekisho_binding_ended"})

_STATEMENTS = (
    """
CREATE FUNCTION sekisho_renew_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE token SET last_at = last_at WHERE key IN (SELECT token_key FROM binding WHERE customer_key = NEW.key);
  RETURN NULL;
END $$""",
    """
CREATE TRIGGER sekisho_customer_changed AFTER UPDATE ON customer FOR EACH ROW
  WHEN (OLD.contract_id IS DISTINCT FROM NEW.contract_id OR OLD.otp_use IS DISTINCT FROM NEW.otp_use
        OR OLD.locked_at IS DISTINCT FROM NEW.locked_at OR OLD.attributes IS DISTINCT FROM NEW.attributes)
  EXECUTE FUNCTION sekisho_renew_tokens()""",
    """
CREATE FUNCTION sekisho_renew_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE token SET last_at = last_at WHERE key = OLD.token_key;
  RETURN NULL;
END $$""",
    """
CREATE TRIGGER sekisho_binding_ended AFTER DELETE ON binding FOR EACH ROW
  EXECUTE FUNCTION sekisho_renew_token()""",
    # Room for a row's next version on its own page: then a login writes into no index.
    "ALTER TABLE token SET (fillfactor = 70)",
    "ALTER TABLE customer SET (fillfactor = 85)",
)


def create(connection: Connection) -> None:
    """Into an empty database, in the open transaction. Who calls it notes the revision."""
    metadata.create_all(connection, checkfirst=False)
    until = id_at(month_behind(int(time.time() * 1000)))
    for statement in partitions.STATEMENTS:
        connection.exec_driver_sql(statement.format(until=until))
    for statement in _STATEMENTS:
        connection.execute(text(statement))
