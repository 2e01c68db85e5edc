"""What several commands share: arguments, settings, a study's ledger, a block with Prefect."""

import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer
from pydantic import ValidationError

from flows.terminal import Terminal, make_console, write_data
from nightlab import events
from nightlab.errors import UsageError
from nightlab.settings import Places, SessionSettings

if TYPE_CHECKING:
    from prefect import Flow

AnyFlow = TypeVar("AnyFlow", bound="Flow[..., Any]")

Study = Annotated[str, typer.Argument(help="Name of the study", show_default=False)]
Trial = Annotated[int, typer.Argument(help="Number of the trial", min=0, show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs")]

RemoteName = Annotated[
    str | None,
    typer.Option(
        "--remote", help="Git remote (a name or an address) to fetch the study from before"
    ),
]

EXIT_FAILED = 1
"""A person's mistake ends with 2, as typer's own refusals do (``NightlabError.exit_status``)."""
EXIT_INTERRUPTED = 130


@contextmanager
def with_prefect(places: Places, ledger: Any, *, has_page: bool = False) -> Iterator[Terminal]:
    """Run a block with Prefect at hand, the live view, and a clean end on Ctrl-C.

    Args:
        places: of this machine.
        ledger: of the study that the block works on.
        has_page: whether the study's page follows what happens.
    """
    from flows.local_server import configure_prefect, prefect_server

    console = make_console()
    places.require_cache()
    configure_prefect(places.cache, console=False)
    stop = StopRequest()
    signal.signal(signal.SIGINT, stop.ask)
    signal.signal(signal.SIGTERM, stop.ask)
    try:
        with _page(console, ledger, places) if has_page else nullcontext():
            console.print("Starting Prefect …", style="dim")
            with prefect_server(places.cache):
                from flows.live import watching

                with events.listening(stop.insist), watching(console, ledger), _ends_known():
                    yield console
    except KeyboardInterrupt:
        console.print(
            f"Stopped. Nothing is lost: the same command goes on with study {ledger.study}, "
            "the trial in flight included."
        )
        raise SystemExit(EXIT_INTERRUPTED) from None


@contextmanager
def _ends_known() -> Iterator[None]:
    """Raise what ended a run, where Prefect's server went away before it could be told."""
    import httpx

    from flows.outages import ended_by

    try:
        yield
    except (httpx.TransportError, httpx.HTTPStatusError, RuntimeError) as error:
        ended = ended_by(error)
        if ended is error:
            raise
        raise ended from None


def _page(console: Terminal, ledger: Any, places: Places) -> AbstractContextManager[None]:
    from flows.live_page import live_page

    return live_page(console, ledger, places.mlruns / "reports")


class StopRequest:
    """Ctrl-C, once asked for, happens.

    Python drops a KeyboardInterrupt that reaches it inside a finaliser or a callback (git and
    Prefect have such), so the session's next step raises it again.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle a signal: stop what this thread does."""
        self._asked = True
        raise KeyboardInterrupt

    def insist(self, event: events.Event) -> None:
        """Raise what was dropped, in the thread that a signal would reach."""
        on_its_way = isinstance(event, events.StepBegun | events.Trained)
        if self._asked and on_its_way and current_thread() is main_thread():
            self._asked = False
            raise KeyboardInterrupt


def validated_settings(given: dict[str, Any]) -> SessionSettings:
    """The settings of a session, or what is wrong with one of its options.

    Raises:
        UsageError: a value is not what its option needs.
    """
    try:
        return SessionSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        what = first["msg"].removeprefix("Value error, ")
        found = "" if "environment variable" in what else f" (found {first['input']!r})"
        raise UsageError(f"{name}: {what}{found}.") from None


def once(flow: AnyFlow) -> AnyFlow:
    """The flow without its retries: at a terminal a person decides whether to try again."""
    return cast("AnyFlow", flow.with_options(retries=0))


def existing_ledger(study: str, remote: str | None = None) -> Any:
    """The ledger of a study that exists.

    Args:
        study: its name.
        remote: git remote to fetch it from before.

    Raises:
        UsageError: it does not exist, or its branch is gone.
    """
    from nightlab.ledger import Ledger, fetch_study, studies_without_branch
    from nightlab.ledger import studies as study_names

    root = Places.find().root
    if remote is not None:
        with events.listening(print_notice):
            return fetch_study(root, validated_settings({"study": study}).study, remote)
    names = study_names(root)
    if study not in names:
        if study in studies_without_branch(root):
            Ledger(root, study).require_branch_of_records()
        known = ", ".join(names) or "none yet"
        raise UsageError(
            f"There is no study {study!r} here (studies: {known}): `nightlab studies` lists them, "
            f"`nightlab fetch {study} --remote origin` brings one here, `nightlab research --study "
            f"{study}` begins it."
        )
    return Ledger(root, study)


def print_notice(event: events.Event) -> None:
    """Say what happened meanwhile, beside what a command prints."""
    if isinstance(event, events.Notice):
        make_console(is_error=True).say(event.text)


def print_json(value: object) -> None:
    """Print a value for programs."""
    write_data(json.dumps(value, indent=2) + "\n")
