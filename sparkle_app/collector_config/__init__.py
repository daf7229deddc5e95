"""Making a collector's config: a key pair, and the archive config.tar.xz (docs/wire-format.md).

``gen-config`` asks for what is needed and calls :func:`make_config`; so does the demo.
"""

from sparkle_app.collector_config.making import MadeConfig, make_config

__all__ = ["MadeConfig", "make_config"]
