"""Creates configs for collectors: a key pair, and the archive config.tar.xz (docs/wire-format.md).

``gen-config`` and the demo call :func:`make_config`.
"""

from sparkle_app.collector_config.creation import ConfigFiles, make_config

__all__ = ["ConfigFiles", "make_config"]
