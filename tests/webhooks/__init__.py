"""Audit events by HTTP."""

from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "webhooks.md"
