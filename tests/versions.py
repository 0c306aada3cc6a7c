"""Other versions of Sekisho beside this one: the next, made up from this source with two migrations more, and the one
before, as the repository has it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from otp_core.store.schema import REVISION

ROOT = Path(__file__).parents[1]
PACKAGES = ("admin_web", "config", "otp_core", "pam_module", "radius_server", "sekisho")
EXPANDS, CONTRACTS = "9001", "9002"
"""The migrations of the next version."""

_EXPANDS = f'''"""Columns of every table that a login touches, an index and a table that this version uses."""

import sqlalchemy as sa
from alembic import op

revision = "{EXPANDS}"
down_revision = "{REVISION}"
branch_labels = None
depends_on = None
phase = "expand"


def upgrade() -> None:
    op.add_column("token", sa.Column("colour", sa.Text(), server_default=sa.text("'red'"), nullable=False))
    op.add_column("customer", sa.Column("shoe_size", sa.Integer(), nullable=True))
    for table in ("challenge", "audit", "meta", "seal", "binding", "profile", "session"):
        op.add_column(table, sa.Column("more", sa.Integer(), nullable=True))
    op.create_index("ix_staff_role", "staff", ["role"])
    op.create_table(
        "pet",
        sa.Column("customer_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["customer_key"], ["customer.key"], name=op.f("fk_pet_customer_key")),
        sa.PrimaryKeyConstraint("customer_key", name=op.f("pk_pet")),
    )
'''

_CONTRACTS = f'''"""An index that only the version before used."""

from alembic import op

revision = "{CONTRACTS}"
down_revision = "{EXPANDS}"
branch_labels = None
depends_on = None
phase = "contract"


def upgrade() -> None:
    op.drop_index("ix_token_drift", table_name="token")
'''


def running(tree: Path) -> Mapping[str, str]:
    """The environment of programs that are to run this source."""
    return {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}


def next_version(folder: Path) -> Path:
    """The source of a version that has added something to the schema, and will take something away."""
    for name in PACKAGES:
        if name != "otp_core":
            (folder / name).symlink_to(ROOT / name)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "otp_core", folder / "otp_core", ignore=ignore)
    schema = folder / "otp_core" / "store" / "schema.py"
    text, changed = schema.read_text(), 0
    for name, value in (("REVISION", CONTRACTS), ("NEEDED", EXPANDS)):
        text, number = re.subn(rf'^{name} = "\d{{4}}"$', f'{name} = "{value}"', text, flags=re.MULTILINE)
        changed += number
    assert changed == 2, "schema.py names both"
    schema.write_text(text)
    versions = folder / "otp_core" / "store" / "migrations" / "versions"
    (versions / f"{EXPANDS}_next.py").write_text(_EXPANDS)
    (versions / f"{CONTRACTS}_next.py").write_text(_CONTRACTS)
    return folder


def previous_version(folder: Path) -> Path | None:
    """The source of the newest commit before the last change of the schema, if it can use this version's stores, or
    else that of the last commit; None: this checkout has no history."""
    changed = _git("log", "-1", "--format=%H", "--", "otp_core/store/migrations/versions")
    for commit in (f"{changed}~1" if changed else "", "HEAD"):
        schema = commit and _git("show", f"{commit}:otp_core/store/schema.py")
        found = re.search(r'^REVISION = "(\d{4})"$', schema or "", re.MULTILINE)
        if found is not None and _may_use(found[1]):
            archive = subprocess.run(
                ["git", "archive", commit, *PACKAGES], cwd=ROOT, stdout=subprocess.PIPE, check=True
            )
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
            return folder
    return None


def _may_use(revision: str) -> bool:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from otp_core.store.migrating import oldest_of, steps_of

    config = Config()
    config.set_main_option("script_location", "otp_core.store:migrations")
    return revision >= oldest_of(steps_of(ScriptDirectory.from_config(config)), REVISION)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
