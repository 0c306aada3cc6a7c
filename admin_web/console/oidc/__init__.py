"""Single sign-on of staff by OpenID Connect (OpenID Connect Core 1.0, authorization code flow with PKCE)."""
