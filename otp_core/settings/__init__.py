"""The settings: one TOML file, a folder of secrets and the environment in; one frozen ``Settings`` out, or one report.

It knows nothing of doors and stores beyond the names of their keys, looks up no environment, and lets no secret out.
"""

from otp_core.settings.agent import Agent, AgentFile, LoadedAgent, load_agent
from otp_core.settings.describe import describe_schema, markdown_table, show
from otp_core.settings.load import Loaded, load
from otp_core.settings.model import (
    Client,
    Log,
    Login,
    Password,
    Radius,
    ReplyMessages,
    Settings,
    Store,
    Throttle,
)
from otp_core.settings.notices import Notices
from otp_core.settings.pam import AgentProfile, HostProfile, Pam, PamProfile, PamSocket
from otp_core.settings.problems import ConfigProblems, Problem
from otp_core.settings.served import Served
from otp_core.settings.soft_token import SoftToken
from otp_core.settings.values import Address
from otp_core.settings.web import Web

__all__ = [
    "Address",
    "Agent",
    "AgentFile",
    "AgentProfile",
    "Client",
    "ConfigProblems",
    "HostProfile",
    "Loaded",
    "LoadedAgent",
    "Log",
    "Login",
    "Notices",
    "Pam",
    "PamProfile",
    "PamSocket",
    "Password",
    "Problem",
    "Radius",
    "ReplyMessages",
    "Served",
    "Settings",
    "SoftToken",
    "Store",
    "Throttle",
    "Web",
    "describe_schema",
    "load",
    "load_agent",
    "markdown_table",
    "show",
]
