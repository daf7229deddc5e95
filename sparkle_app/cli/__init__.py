"""Commands: ``faust -A sparkle_app NAME``, or ``sparkle NAME``."""

_DEFAULTS = {
    "loglevel": ("Level of the log, also of the libraries", "log_level"),
    "web_host": ("Host of this worker's URL, unless web.public_url is set", "web.host"),
    "web_port": ("Port of the web server", "web.port"),
}
"""By option of Faust: its help, and the setting that is its default, while Faust's own help names a constant."""


def add_commands() -> None:
    """Add the handler's commands to Faust's command line."""
    import sys
    from io import TextIOWrapper

    import click
    from faust.cli.base import cli
    from faust.cli.worker import worker  # noqa: F401

    # Faust registers a command when its class is defined.
    from sparkle_app.cli import (  # noqa: F401
        capacity,
        check,
        dead_letters,
        export,
        gen_config,
        hosts,
        import_command,
        migrate,
        move,
        rebuild,
        replay,
        reset_offsets,
        retain,
        try_plugin,
        verify,
    )

    cli.add_command(gen_config.command)
    for option in [*cli.params, *cli.commands["worker"].params]:
        if not isinstance(option, click.Option):
            continue
        if option.name in _DEFAULTS:
            what, setting = _DEFAULTS[option.name]
            option.help, option.show_default = f"{what}; default: the setting {setting}", False
        elif option.name == "datadir":
            # The setting data overrides it.
            option.hidden = True
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # In a locale such as KOI8-R or Latin-1, Faust's banner and names in other scripts cannot be encoded.
            stream.reconfigure(errors="backslashreplace")
