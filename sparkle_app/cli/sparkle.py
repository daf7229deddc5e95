"""The ``sparkle`` command: ``sparkle NAME`` is ``faust -A sparkle_app NAME`` with an option for the settings file."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import click
from faust.cli.base import _Group
from faust.cli.faust import cli as faust

from sparkle_app.cli import add_commands
from sparkle_app.config.yaml_file import ENV_FILE_NAME
from sparkle_app.runtime.version import __version__


def _settings_option(folder: str) -> click.Option:
    """The option ``--settings``, relative to ``folder``."""

    def name_settings(_context: click.Context, _option: click.Parameter, file: str | None) -> None:
        if file is not None:
            os.environ[ENV_FILE_NAME] = os.path.join(folder, file)

    return click.Option(
        ["--settings"],
        metavar="FILE",
        expose_value=False,
        callback=name_settings,
        help=f"settings file; default: ${ENV_FILE_NAME}, else ./settings.yaml if it exists",
    )


_VERSION = click.version_option(__version__, prog_name="sparkle", message="%(prog)s %(version)s")


class _Sparkle(_Group):
    """Faust's command line for this application."""

    def _maybe_import_app(self, argv: Sequence[str] = ()) -> None:
        """Do nothing. Faust imports the app here, which would make ``--help`` depend on valid settings."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, with the option ``--settings`` added."""
        command = super().get_command(ctx, cmd_name)
        option = next(each for each in self.params if each.name == "settings")
        if command and option not in command.params:
            command.params.append(option)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the handler's commands before those of Faust."""
        sections: dict[str, list[tuple[str, str]]] = {"Commands": [], "Commands of Faust": []}
        for name, command in sorted(self.commands.items()):
            ours = name == "worker" or command.callback.__module__.startswith("sparkle_app.")
            row = name, command.get_short_help_str(formatter.width)
            sections["Commands" if ours else "Commands of Faust"].append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def main() -> None:
    """Run the command, and exit."""
    add_commands()
    faust_options = [each for each in faust.params if each.name not in ("app", "version")]
    # Faust changes the working directory to --workdir before it parses the options of the command.
    settings_option = _settings_option(os.getcwd())
    sparkle = _VERSION(
        _Sparkle(
            "sparkle",
            commands=faust.commands,
            callback=partial(cast(Callable[..., None], faust.callback), app="sparkle_app"),
            params=[settings_option, *faust_options],
            help="The Sparkle-M handler. Run `sparkle COMMAND --help` for more about a command.",
        )
    )
    sparkle(prog_name="sparkle")
