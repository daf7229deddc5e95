"""TLS and SASL: the arguments for Faust and aiokafka, and the errors for files that cannot be used."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from faust import SASLCredentials

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.config.settings import Settings
from sparkle_app.kafka.connection import credentials, security_arguments
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.worker.agents import create_app
from tests.support.certificates import Authority

PLUGINS = Path(__file__).parents[2] / "plugins"
SASL = {"mechanism": "SCRAM-SHA-512", "username": "me", "password": "hush"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def broker(**sections: Any) -> BrokerSettings:
    return BrokerSettings.model_validate(sections)


def tls(**files: Path) -> dict[str, Any]:
    return {"enabled": True, **files}


def test_the_default_is_neither_tls_nor_sasl() -> None:
    assert credentials(BrokerSettings()) is None
    assert security_arguments(BrokerSettings()) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("with_tls", "sasl", "protocol"),
    [(True, {}, "SSL"), (False, SASL, "SASL_PLAINTEXT"), (True, SASL, "SASL_SSL")],
)
def test_each_combination_selects_the_security_protocol(
    authority: Authority, with_tls: bool, sasl: dict[str, str], protocol: str
) -> None:
    section = tls(ca_file=authority.certificate) if with_tls else {}
    arguments = security_arguments(broker(tls=section, sasl=sasl))
    assert arguments["security_protocol"] == protocol
    if with_tls:
        context = arguments["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "Test CA"),),)]
    if sasl:
        assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
        assert arguments["sasl_plain_username"] == "me"
        assert arguments["sasl_plain_password"] == "hush"


def test_faust_gets_the_credentials(tmp_path: Path) -> None:
    settings = Settings(plugins=PLUGINS, data=tmp_path, broker=broker(sasl=SASL))
    given = create_app(settings).conf.broker_credentials
    assert isinstance(given, SASLCredentials)
    assert given.username == "me"


def test_an_unusable_file_is_an_error_of_one_line(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("worker")
    _, other = authority.issue("other")
    _, locked = authority.issue("locked", password=b"hush")
    missing, junk = tmp_path / "missing.pem", tmp_path / "junk.pem"
    junk.write_text("junk")
    mine = {"ca_file": authority.certificate, "cert_file": certificate}
    security_arguments(broker(tls=tls(**mine, key_file=key)))
    for section, message in [
        (tls(ca_file=missing), f"broker.tls.ca_file: expected a PEM file, found none at {missing}"),
        (tls(**mine, key_file=missing), f"broker.tls.key_file: expected a PEM file, found none at {missing}"),
        (tls(ca_file=junk), f"broker.tls.ca_file: expected PEM certificates in {junk}"),
        (tls(**mine, key_file=other), f"expected the unencrypted private key of {certificate} in {other}"),
        (tls(**mine, key_file=locked), f"expected the unencrypted private key of {certificate} in {locked}"),
        (
            tls(**mine, key_file=junk),
            f"broker.tls.key_file: expected the unencrypted private key of {certificate} in {junk}, found none",
        ),
        (
            tls(cert_file=junk, key_file=key),
            f"broker.tls.cert_file: expected a PEM certificate in {junk}, found none; correct the file",
        ),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            security_arguments(broker(tls=section))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
