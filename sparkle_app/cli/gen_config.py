"""``sparkle gen-config``: creates a key pair and a config archive. In a checkout also ``gen_config.py``."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

import click

from sparkle_app.cli.messages import messages
from sparkle_app.cli.prompts import (
    ConfigRequest,
    InvalidAnswerError,
    choose_plugins,
    confirm,
    list_plugins,
    prompt_all,
    summary,
)
from sparkle_app.collector_config import ConfigFiles, make_config
from sparkle_app.collector_config.creation import KEY_BITS, InvalidOptionError, free_id
from sparkle_app.config.loading import load_settings
from sparkle_app.config.web import LOCALHOST
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import find_packages

_DESCRIPTION = """\
Create a config for collectors: a key pair, and the archive config.tar.xz for the collector's folder.

Without options it prompts for each value. With options it asks only for confirmation, and with --yes for nothing;
omitted options have their defaults:

    %(prog)s --plugins Temperature,PU_Workload --address 127.0.0.1 --port 9092 --interval 300 --yes

Exit codes: 0 created, 1 error or not confirmed, 2 usage error, 130 interrupted. Unless it is 0, nothing was written.
"""


@click.command(
    "gen-config",
    short_help="Create a config for collectors: a key pair, and config.tar.xz.",
    # main() parses the options, --help included.
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, arguments: Sequence[str]) -> None:
    """The command in Faust's command line."""
    sys.exit(main(arguments, context.command_path.replace("faust ", "faust -A sparkle_app ", 1)))


def main(arguments: Sequence[str], program: str | None = None) -> int:
    """Run the command; return the exit code.

    Arguments:
        arguments: the command-line arguments.
        program: name of the program in the help; None: the name of the script.
    """
    options = _options(arguments, program)
    texts = messages()
    # A shell that starts this in the background ignores SIGINT, and the process inherits that: restore Ctrl-C.
    # The other signals raise KeyboardInterrupt too, so that temporary files are removed.
    created: list[ConfigFiles] = []

    def interrupt(_number: int, _frame: object) -> None:
        # Once the files exist, it is too late: what remains is to say so.
        if not created:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    # An encoding without ° prints a ? instead.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        settings = load_settings()
        certs, folder = options.certs or settings.certs, options.plugins_dir or settings.plugins
        packages = find_packages(folder)
        for message in [*packages.warnings, *packages.errors]:
            print(message, file=sys.stderr)
        if not packages.manifests:
            print(
                f"{folder}: expected at least one valid plugin, found none; set --plugins-dir",
                file=sys.stderr,
            )
            return 1
        if options.list:
            return 0 if _printed(list_plugins(packages.manifests, texts)) else 2
        # With any option, the others have their defaults.
        interactive = not arguments
        if not sys.stdin.isatty() and not options.yes:
            print("standard input: expected a terminal, found none; use options and --yes", file=sys.stderr)
            return 2
        # The first of several brokers: a collector learns the others from it.
        address, _, port = settings.broker.url.split(",")[0].strip().rpartition(":")
        address = address.strip("[]")
        request = ConfigRequest(
            packages.manifests
            if options.plugins is None
            else choose_plugins(options.plugins, packages.manifests, texts),
            address if options.address is None else options.address,
            int(port) if options.port is None else options.port,
            300 if options.interval is None else options.interval,
            free_id(certs) if options.id is None else options.id,
            options.output or Path(),
        )
        if interactive:
            request = prompt_all(request, packages.manifests, certs, texts)
        if request.address in LOCALHOST:
            print(texts["local_address"].format(address=request.address), file=sys.stderr)
        bits = options.bits or KEY_BITS[0]
        if not options.yes:
            print(summary(request, certs / f"rsa_key_{request.config_id}", bits, texts))
            if not confirm(texts):
                print(texts["nothing_written"])
                return 1
        make_config(
            request.plugins,
            address=request.address,
            port=request.port,
            interval=request.interval,
            output=request.output,
            certs=certs,
            # A default id may be taken by now; make_config then chooses the next one.
            config_id=request.config_id if interactive or options.id is not None else None,
            bits=bits,
            on_created=created.append,
        )
    except (InvalidAnswerError, InvalidOptionError) as error:
        print(error, file=sys.stderr)
        return 2
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print(f"\n{texts['nothing_written']}", file=sys.stderr)
        return 130
    (files,) = created
    done = texts["done"].format(archive=files.archive)
    key_warning = texts["key_warning"].format(key=files.key)
    _printed(f"{done}\n{texts['next']}\n{key_warning}")
    return 0


def _printed(text: str) -> bool:
    """Print a text, and return whether this was possible; otherwise to standard error, as far as that is possible."""
    try:
        print(text, flush=True)
        return True
    except OSError:
        # Otherwise Python flushes standard output at exit and reports the same error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return False


def _options(arguments: Sequence[str], program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plugins", help="names or numbers of plugins, separated by commas (default: all)")
    parser.add_argument("--address", help="broker address, as seen from the hosts (default: from broker.url)")
    parser.add_argument("--port", type=int, help="broker port (default: from broker.url)")
    parser.add_argument("--interval", type=int, metavar="SECONDS", help="collection interval (default: 300)")
    parser.add_argument("--id", type=int, help="config id (default: the next free one)")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for config.tar.xz (default: the working folder)"
    )
    parser.add_argument("--bits", type=int, choices=KEY_BITS, help="size of the RSA key (default: 2048)")
    parser.add_argument(
        "--certs", type=Path, metavar="DIR", help="folder for the private key (default: the setting certs)"
    )
    parser.add_argument(
        "--plugins-dir", type=Path, metavar="DIR", help="plugins folder (default: the setting plugins)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--list", action="store_true", help="list the installed plugins and exit")
    return parser.parse_args(arguments)
