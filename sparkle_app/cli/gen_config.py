"""``sparkle gen-config``, also as gen_config.py of a checkout."""

import argparse
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

import click

from sparkle_app.cli.messages import messages
from sparkle_app.cli.prompts import (
    ConfigRequest,
    InvalidAnswerError,
    agreed,
    ask,
    choose,
    list_plugins,
    summary,
)
from sparkle_app.collector_config import make_config
from sparkle_app.collector_config.making import KEY_BITS, InvalidOptionError, free_id
from sparkle_app.config.loading import load_settings
from sparkle_app.config.settings import LOCALHOST
from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import find_packages

_DESCRIPTION = """\
Make a config for collectors: a key pair, and the archive that goes into the collector's folder.

Without options it asks at a terminal. With --yes it asks nothing, and what is not given has its default:

    %(prog)s --plugins Temperature,PU_Workload --address 127.0.0.1 --port 9092 --interval 300 --yes

Exit codes: 0 made, 1 something is wrong and nothing was written, 2 wrong usage.
"""


@click.command(
    "gen-config",
    short_help="Make a config for collectors: a key pair, and config.tar.xz.",
    # Its options, --help among them, are main's.
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, arguments: Sequence[str]) -> None:
    """The command, as Faust's command line knows it."""
    sys.exit(main(arguments, context.command_path))


def main(arguments: Sequence[str], program: str | None = None) -> int:
    """Make a config; return the exit code.

    Arguments:
        arguments: of the command line.
        program: what was called, for the help; the script's name when left out.
    """
    options = _options(arguments, program)
    texts = messages()
    # A script that runs in the background hands SIGINT on as ignored; a person here can still press Ctrl-C.
    # The other ways to be ended clean up as well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # A terminal that has no ° shows a ? instead.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        settings = load_settings()
        certs, folder = options.certs or settings.certs, options.plugins_dir or settings.plugins
        packages = find_packages(folder)
        for problem in [*packages.warnings, *packages.faults]:
            print(problem, file=sys.stderr)
        if not packages.manifests:
            print(f"{folder}: expected a plugin, found none that can be used", file=sys.stderr)
            return 1
        if options.list:
            print(list_plugins(packages.manifests, texts))
            return 0
        # Whoever gives any option is not asked for the others.
        asking = not arguments
        if not sys.stdin.isatty() and not options.yes:
            print("expected options, --yes among them, since nobody is here to be asked", file=sys.stderr)
            return 2
        # Of several brokers the first, which tells a collector of the others.
        address, _, port = settings.broker.url.split(",")[0].strip().rpartition(":")
        address = address.strip("[]")
        request = ConfigRequest(
            packages.manifests
            if options.plugins is None
            else choose(options.plugins, packages.manifests, texts),
            address if options.address is None else options.address,
            int(port) if options.port is None else options.port,
            300 if options.interval is None else options.interval,
            free_id(certs) if options.id is None else options.id,
            options.output or Path(),
        )
        if asking:
            request = ask(request, packages.manifests, certs, texts)
        if request.address in LOCALHOST:
            print(texts["local"].format(address=request.address), file=sys.stderr)
        bits = options.bits or KEY_BITS[0]
        if not options.yes:
            print(summary(request, certs / f"rsa_key_{request.config_id}", bits, texts))
            if not agreed(texts):
                print(texts["nothing"])
                return 1
        made = make_config(
            request.plugins,
            address=request.address,
            port=request.port,
            interval=request.interval,
            output=request.output,
            certs=certs,
            # One that nobody asked for may be taken in the meantime: then the next is.
            config_id=request.config_id if asking or options.id is not None else None,
            bits=bits,
        )
    except (InvalidAnswerError, InvalidOptionError) as fault:
        print(fault, file=sys.stderr)
        return 2
    except ConfigurationError as fault:
        print(fault, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print(f"\n{texts['nothing']}", file=sys.stderr)
        return 130
    print(texts["done"].format(archive=made.archive))
    print(texts["next"])
    print(texts["secret"].format(key=made.key))
    return 0


def _options(arguments: Sequence[str], program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plugins", help="names, separated by commas (all installed ones)")
    parser.add_argument("--address", help="address of the broker, as the hosts see it (broker.url's)")
    parser.add_argument("--port", type=int, help="port of the broker (broker.url's)")
    parser.add_argument("--interval", type=int, metavar="SECONDS", help="between two collections (300)")
    parser.add_argument("--id", type=int, help="number of the config (a free one)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for config.tar.xz (this one)")
    parser.add_argument("--bits", type=int, choices=KEY_BITS, help="length of the RSA key (2048)")
    parser.add_argument(
        "--certs", type=Path, metavar="DIR", help="folder for the private key (the settings')"
    )
    parser.add_argument("--plugins-dir", type=Path, metavar="DIR", help="folder of plugins (the settings')")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to write")
    parser.add_argument("--list", action="store_true", help="list the installed plugins, and make nothing")
    return parser.parse_args(arguments)
