"""Commands: ``faust -A sparkle_app NAME``, or ``sparkle NAME``."""


def add_commands() -> None:
    """Add the handler's commands to Faust's command line."""
    import sys
    from io import TextIOWrapper

    from faust.cli.base import cli

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # In a locale such as KOI8-R or Latin-1, Faust's banner and names in other scripts cannot be encoded.
            stream.reconfigure(errors="backslashreplace")
