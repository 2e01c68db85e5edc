"""The command line: ``nightlab``.

Everything heavy (Prefect, MLflow, litellm) is imported by the command that needs it, so
that ``nightlab --help`` answers at once.
"""

import io
import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

from flows.commands import (
    approval,
    comparison,
    consolidation,
    fleet,
    machine,
    models,
    sessions,
    steering,
    study,
)
from flows.commands.common import EXIT_FAILED
from flows.terminal import guard_terminal, make_console
from nightlab.errors import NightlabError
from nightlab.machine.encoding import require_utf8
from nightlab.machine.folders import require_home
from nightlab.machine.network import keep_loopback_direct

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="An overnight research lab for small language models, with scores you can trust.",
)

COMMANDS = (
    sessions.research,
    study.studies,
    study.show,
    sessions.retry,
    sessions.confirm,
    consolidation.consolidate,
    approval.approve,
    steering.suggest,
    steering.stop,
    steering.program,
    study.report,
    comparison.compare,
    study.export,
    study.sync,
    models.sample,
    fleet.fetch,
    fleet.recover,
    fleet.notify,
    fleet.delete,
    machine.ui,
    machine.doctor,
    machine.local_model,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line; turn every known error into one sentence and a status."""
    guard_terminal()
    try:
        _meet_machine()
        app()
    except NightlabError as error:
        _fail(str(error), error.exit_status)
    except OSError as error:
        _fail(
            f"The system refused ({error}): Nightlab writes to mlruns/ in the clone, to git and to "
            "its cache folder (NIGHTLAB_CACHE), and reads what it was given.",
            EXIT_FAILED,
        )


def _meet_machine() -> None:
    """Take the environment as it is found, or refuse what no command could work with."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not have every letter
            stream.reconfigure(errors="backslashreplace")
    keep_loopback_direct(os.environ)
    require_utf8(sys.argv[1:], os.environ, Path.cwd())
    require_home()


def _fail(sentence: str, status: int) -> NoReturn:
    make_console(is_error=True).say(f"nightlab: {sentence}", "red")
    raise SystemExit(status)


if __name__ == "__main__":
    main()
