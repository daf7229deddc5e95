"""Commands: ``faust -A sparkle_app NAME``, or ``sparkle NAME``."""


def add_commands() -> None:
    """Make the commands known to Faust's command line."""
    from faust.cli.base import cli

    # Their classes make themselves known.
    from sparkle_app.cli import check, dead_letters, gen_config, rebuild, replay, verify  # noqa: F401

    cli.add_command(gen_config.command)
