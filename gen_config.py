#!/usr/bin/env python3
"""``sparkle gen-config`` from a checkout: reads the settings.yaml next to it, whatever the working folder is."""

import os
import sys
from pathlib import Path

from sparkle_app.cli.gen_config import main
from sparkle_app.config.yaml_file import ENV_FILE_NAME

if __name__ == "__main__":
    if not os.environ.get(ENV_FILE_NAME):
        os.environ[ENV_FILE_NAME] = str(Path(__file__).resolve().with_name("settings.yaml"))
    sys.exit(main(sys.argv[1:]))
