"""Settings: a TOML file, a secrets folder and the environment in; one frozen schema object out, or one report.

The core's own sections, the value types, and a reader that is given the schema's class. It knows no door, looks up no
environment, and lets no secret out.
"""

from otp_core.settings.describe import describe_schema, markdown_table, show
from otp_core.settings.notices import NoticesSettings
from otp_core.settings.problems import ConfigProblems, Problem
from otp_core.settings.reader import Checks, Loaded, read_settings
from otp_core.settings.sections import (
    LoginSettings,
    LogSettings,
    PasswordSettings,
    StoreSettings,
    ThrottleSettings,
)
from otp_core.settings.values import Address

__all__ = [
    "Address",
    "Checks",
    "ConfigProblems",
    "Loaded",
    "LogSettings",
    "LoginSettings",
    "NoticesSettings",
    "PasswordSettings",
    "Problem",
    "StoreSettings",
    "ThrottleSettings",
    "describe_schema",
    "markdown_table",
    "read_settings",
    "show",
]
