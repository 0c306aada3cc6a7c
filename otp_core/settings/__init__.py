"""Settings: reads a TOML file, a secrets folder and the environment into one frozen object, or one report of problems.

The core's own sections, the value types, and a reader for any schema class. It knows no door, looks up no environment
variable itself, and puts no secret into a message.
"""

from otp_core.settings.describe import describe_schema, markdown_table, show
from otp_core.settings.first_factors import FirstFactorSettings, UpstreamSettings
from otp_core.settings.nodes import NodeSettings
from otp_core.settings.notices import NoticesSettings
from otp_core.settings.problems import ConfigProblems, Problem
from otp_core.settings.reader import Checks, Loaded, read_settings
from otp_core.settings.sections import (
    AuditSettings,
    LoginSettings,
    LogSettings,
    MetricsSettings,
    PasswordSettings,
    StoreSettings,
    ThrottleSettings,
)
from otp_core.settings.syslog import SyslogSettings
from otp_core.settings.values import Address
from otp_core.settings.verifiers import VerifierSettings
from otp_core.settings.webhooks import WebhookSettings

__all__ = [
    "Address",
    "AuditSettings",
    "Checks",
    "ConfigProblems",
    "FirstFactorSettings",
    "Loaded",
    "LogSettings",
    "LoginSettings",
    "MetricsSettings",
    "NodeSettings",
    "NoticesSettings",
    "PasswordSettings",
    "Problem",
    "StoreSettings",
    "SyslogSettings",
    "ThrottleSettings",
    "UpstreamSettings",
    "VerifierSettings",
    "WebhookSettings",
    "describe_schema",
    "markdown_table",
    "read_settings",
    "show",
]
