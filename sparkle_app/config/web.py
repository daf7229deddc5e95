"""The section ``web`` of the settings: address, tokens and TLS of the web server."""

from pathlib import Path
from socket import gethostname
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from sparkle_app.config.sections import Section
from sparkle_app.config.urls import http_url
from sparkle_app.model.errors import ConfigurationError

LOCALHOST = {"127.0.0.1", "::1", "localhost"}
_MIN_TOKEN = 16
"""Characters. The rate at which tokens in headers can be guessed is not limited."""
_WILDCARD_ADDRESSES = {"0.0.0.0", "::"}
Port = Annotated[int, Field(ge=1, le=65535)]


def _token(secret: SecretStr | None) -> SecretStr | None:
    """A token that can be sent in a header, which is read without the spaces around it.

    Raises:
        ValueError: if it is none.
    """
    text = secret.get_secret_value() if secret else ""
    if text != text.strip() or any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise ValueError("a token without spaces around it, and without control characters")
    return secret


Token = Annotated[SecretStr | None, AfterValidator(_token)]


def _without_brackets(host: str) -> str:
    """An IPv6 address may be written as in a URL."""
    return host.removeprefix("[").removesuffix("]")


class WebTlsSettings(Section):
    certificate: Path | None = None
    """PEM file with the certificate of the web server, followed by those of intermediate authorities. It must be \
valid for the host in the URL at which other workers reach this one. Without one, the web server uses plain HTTP. A \
replaced file is loaded within 30 seconds."""
    key: Path | None = None
    """PEM file with the private key of `certificate`, unencrypted."""
    authorities: Path | None = None
    """PEM file with the certificate authorities to trust in requests to other workers; by default those of the \
operating system."""

    @property
    def files(self) -> dict[str, Path]:
        """The files that are set, by key."""
        named = {"certificate": self.certificate, "key": self.key, "authorities": self.authorities}
        return {name: path for name, path in named.items() if path}

    @model_validator(mode="after")
    def _pair(self) -> Self:
        missing = [name for name in ("certificate", "key") if name not in self.files]
        if self.files and missing:
            raise ConfigurationError(
                f"web.tls.{missing[0]}",
                expected=f"a file, since web.tls.{next(iter(self.files))} is set",
                found="none",
                hint="set certificate and key, or neither",
            )
        return self


class WebSettings(Section):
    host: Annotated[str, AfterValidator(_without_brackets)] = "127.0.0.1"
    """Address to listen on. Any other than localhost requires `web.token` or `web.operator_token`."""
    port: Port = 6066
    """Port to listen on. Workers on one machine need different ports."""
    token: Token = None
    """Token for reading, sent as a bearer token or entered at `/login`. The same for all workers, and long and \
random: `openssl rand -hex 32`. If it is set, requests without a valid token can access only `/health/live`, \
`/health/ready`, `/login`, `/logout`, static files and the plain text that pages return to terminals."""
    operator_token: Token = None
    """Token for reading and writing: with it, dead letters can be replayed over HTTP. It must differ from \
`web.token`, and be the same for all workers."""
    session_seconds: int = Field(default=43_200, ge=60, le=366 * 86_400)
    """How long a browser stays logged in."""
    trust_proxy: bool = False
    """Whether all requests of browsers come through a reverse proxy that sets `X-Forwarded-Proto`, and appends the \
client's address to `X-Forwarded-For`: wrong tokens are then limited by this address, and cookies are `Secure` \
if the client used HTTPS."""
    public_url: Annotated[str | None, AfterValidator(http_url)] = None
    """URL at which other workers reach this one; by default `http://HOST:PORT` of this section, or `https://…` with \
`web.tls`."""
    tls: WebTlsSettings = WebTlsSettings()

    @model_validator(mode="after")
    def _tokens_differ(self) -> Self:
        self.require_token(self.host)
        if self.token and self.operator_token and len(set(self.tokens)) == 1:
            raise ConfigurationError(
                "web.operator_token",
                expected="another token than web.token, which is for reading",
                found="the same",
                hint="create one with `openssl rand -hex 32`",
            )
        return self

    @model_validator(mode="after")
    def _url_has_tls(self) -> Self:
        if self.tls.certificate and self.public_url and not self.public_url.lower().startswith("https:"):
            raise ConfigurationError(
                "web.public_url",
                expected="https://…, since web.tls.certificate is set",
                found=self.public_url,
                hint="other workers connect to this URL",
            )
        return self

    @property
    def tokens(self) -> list[str]:
        """The tokens that are set."""
        values = [each.get_secret_value() for each in (self.token, self.operator_token) if each]
        return [value for value in values if value]

    @property
    def warnings(self) -> list[str]:
        """What of this section is possible but unsafe, one line each."""
        tokens = {"web.token": self.token, "web.operator_token": self.operator_token}
        return [
            f"{name}: expected at least {_MIN_TOKEN} characters, found {len(token)}: a short token can be guessed;"
            " create one with `openssl rand -hex 32`"
            for name, token in tokens.items()
            if token and 0 < len(token) < _MIN_TOKEN
        ]

    def url(self, host: str, port: int) -> str:
        """The URL at which other workers reach this one.

        Arguments:
            host: ``host`` of this section, unless Faust's command line overrides it.
            port: ``port``, likewise.
        """
        host = _without_brackets(host)
        # Nothing can connect to a wildcard address from another machine.
        host = gethostname() if host in _WILDCARD_ADDRESSES else host
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self.tls.certificate else "http"
        return self.public_url or f"{scheme}://{host}:{port}"

    def require_token(self, host: str, source: str = "web.host") -> None:
        """Check that a token is set unless ``host`` is localhost.

        Arguments:
            host: the address to listen on.
            source: the setting or option that it comes from; Faust's command line can override ``web.host``.

        Raises:
            ConfigurationError: if there is no token.
        """
        if host not in LOCALHOST and not self.tokens:
            raise ConfigurationError(
                "web.token",
                expected=f"a token, since {source} is {host}",
                found="none",
                hint="set SPARKLE_WEB__TOKEN, or web.host to 127.0.0.1",
            )
