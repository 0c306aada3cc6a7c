"""Messages to syslog receivers."""

from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "syslog.md"
