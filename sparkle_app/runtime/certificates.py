"""Certificates and private keys in PEM files, for the sections of the settings that name them."""

import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate

from sparkle_app.config.files import is_file
from sparkle_app.model.errors import ConfigurationError

_RELATIVE = "correct the setting; paths are relative to the settings file"


def check_files(section: str, files: Mapping[str, Path]) -> None:
    """Check that all files exist.

    Arguments:
        section: of the settings, such as ``broker.tls``.
        files: by key within the section.

    Raises:
        ConfigurationError: if one does not, or is in a folder that may not be read.
    """
    for name, path in files.items():
        try:
            found, hint = None if is_file(path) else "none", _RELATIVE
        except PermissionError as error:
            found, hint = str(error.strerror), "make it readable for the user of the worker"
        if found:
            raise ConfigurationError(
                f"{section}.{name}", expected="a PEM file", found=f"{found} at {path}", hint=hint
            )


def trusting(setting: str, authorities: Path | None) -> ssl.SSLContext:
    """The context of a client.

    Arguments:
        setting: that names the file, such as ``broker.tls.ca_file``.
        authorities: certificates to trust; None: those of the operating system.

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=authorities)
    except (ssl.SSLError, OSError) as error:
        raise _unusable(setting, f"PEM certificates in {authorities}", error) from error


def load_chain(context: ssl.SSLContext, settings: tuple[str, str], certificate: Path, key: Path) -> None:
    """Load a certificate and its private key into a context.

    Arguments:
        settings: that name the two files, such as ``broker.tls.cert_file`` and ``broker.tls.key_file``.

    Raises:
        ConfigurationError: if one of the files cannot be used; it names the setting of that one.
    """
    try:
        # With an empty password OpenSSL does not prompt for one.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        # OpenSSL does not say which of the files it is.
        expires_at(settings[0], certificate)
        expected = f"the unencrypted private key of {certificate} in {key}"
        if isinstance(error, ssl.SSLError) and b"ENCRYPTED" in key.read_bytes():
            found = "an encrypted one"
        elif isinstance(error, ssl.SSLError) and not error.reason:
            found = "none"
        else:
            raise _unusable(settings[1], expected, error) from error
        raise ConfigurationError(
            settings[1], expected=expected, found=found, hint="correct the file"
        ) from error


def expires_at(setting: str, certificate: Path) -> datetime:
    """When a certificate expires, in UTC.

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    try:
        return load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            setting, expected=f"a PEM certificate in {certificate}", found="none", hint="correct the file"
        ) from error


def _unusable(setting: str, expected: str, error: OSError) -> ConfigurationError:
    reason = getattr(error, "reason", None)
    found = reason.replace("_", " ").lower() if reason else error.strerror or str(error)
    return ConfigurationError(setting, expected=expected, found=found, hint="correct the file")
