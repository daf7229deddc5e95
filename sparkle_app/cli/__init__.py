"""Commands: ``faust -A sparkle_app NAME``, or ``sparkle NAME``."""


def add_commands() -> None:
    """Add the handler's commands to Faust's command line."""
    from faust.cli.base import cli

    # Faust registers a command when its class is defined.
    from sparkle_app.cli import check, dead_letters, gen_config, rebuild, replay, verify  # noqa: F401

    cli.add_command(gen_config.command)
