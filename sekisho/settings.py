"""The schema of the settings file: the core's sections and each door's, put together. It reads nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from admin_web.api.settings import ApiSettings
from admin_web.console.settings import ConsoleSettings
from admin_web.settings import WebSettings
from admin_web.softtoken.settings import SoftTokenSettings
from otp_core.certificates import NamedCertificate
from otp_core.settings import (
    AuditSettings,
    FirstFactorSettings,
    Loaded,
    LoginSettings,
    LogSettings,
    MetricsSettings,
    NodeSettings,
    NoticesSettings,
    PasswordSettings,
    StoreSettings,
    SyslogSettings,
    ThrottleSettings,
    UpstreamSettings,
    VerifierSettings,
    WebhookSettings,
    read_settings,
)
from otp_core.settings.sources import DELIMITER, PREFIX
from pam_module.settings import PamSettings
from radius_server.settings import RadiusSettings
from sekisho.checks import CHECKS


class Settings(BaseSettings):
    """All settings of Sekisho. A door whose section is left out is not opened."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    store: StoreSettings
    node: NodeSettings = Field(default_factory=NodeSettings)
    login: LoginSettings = Field(default_factory=LoginSettings)
    password: PasswordSettings = Field(default_factory=PasswordSettings)
    throttle: ThrottleSettings = Field(default_factory=ThrottleSettings)
    upstreams: tuple[UpstreamSettings, ...] = Field(
        default=(), max_length=64, description="RADIUS servers that are asked about logins."
    )
    first_factors: tuple[FirstFactorSettings, ...] = Field(
        default=(), max_length=64, description="Who checks login passwords, where it is not the hashes kept here."
    )
    verifiers: tuple[VerifierSettings, ...] = Field(
        default=(), max_length=64, description="Who knows the codes of tokens whose seeds are not kept here."
    )
    radius: RadiusSettings = Field(default_factory=RadiusSettings)
    web: WebSettings | None = None
    soft_token: SoftTokenSettings | None = None
    console: ConsoleSettings | None = None
    api: ApiSettings | None = None
    pam: PamSettings | None = None
    notices: NoticesSettings | None = None
    audit: AuditSettings | None = None
    syslog: SyslogSettings | None = None
    webhooks: tuple[WebhookSettings, ...] = Field(
        default=(), max_length=16, description="Programs elsewhere that are told of audit events by HTTP."
    )
    metrics: MetricsSettings | None = None
    log: LogSettings = Field(default_factory=LogSettings)

    @property
    def time_zone(self) -> str:
        """Of the bank: of its pages, or else of its mail."""
        named = self.web or self.notices
        default: str = WebSettings.model_fields["time_zone"].default
        return default if named is None else named.time_zone

    @property
    def certificates(self) -> tuple[NamedCertificate, ...]:
        """Those that the doors show, then those that verifiers are shown."""
        sections = {"web": self.web, "soft_token": self.soft_token, "console": self.console, "api": self.api}
        shown = [
            NamedCertificate(f"{name}.tls_certificate", section.tls_certificate)
            for name, section in sections.items()
            if section is not None and section.tls_certificate is not None
        ]
        return (*shown, *self._shown_to_verifiers)

    @property
    def _shown_to_verifiers(self) -> list[NamedCertificate]:
        return [
            NamedCertificate(f"verifiers.{one.name}.certificate", one.certificate)
            for one in self.verifiers
            if one.certificate is not None
        ]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: pydantic-settings must not read the environment itself, ``load`` does."""
        return (init_settings,)


def load(path: Path | None, *, environment: Mapping[str, str], secrets_dir: Path | None = None) -> Loaded[Settings]:
    """The settings of this program. Arguments and errors as for ``otp_core.settings.read_settings``."""
    return read_settings(Settings, CHECKS, path, environment=environment, secrets_dir=secrets_dir)
