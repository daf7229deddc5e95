"""What all commands share: exit codes (0 done, 1 found something wrong, 2 wrong usage) and one line for a fault."""

import asyncio
import logging
import os
import sys
from typing import Any, ClassVar, NoReturn, cast

from faust.cli.base import AppCommand

from sparkle_app.application import SparkleApp
from sparkle_app.errors import StartupFault


class SparkleCommand(AppCommand):
    """A command whose ``run`` returns the exit code."""

    abstract: ClassVar[bool] = True
    # Faust knows whether its classes are commands by this.

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run to the end, without Faust's worker around it."""
        # What goes wrong with the broker is said by the command itself.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        try:
            code = asyncio.run(self.run(*self.args, **self.kwargs))
        except StartupFault as fault:
            print(fault, file=sys.stderr)
            code = 1
        except BrokenPipeError:
            # The reader, such as head, has seen enough; Python would complain once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except KeyboardInterrupt:
            code = 130
        sys.exit(code)

    @property
    def handler(self) -> SparkleApp:
        """The app with its parts."""
        return cast(SparkleApp, self.app)
