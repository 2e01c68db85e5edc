"""Commands about this machine: its pages, its health."""

from typing import Annotated

import typer
from rich.console import Console

from flows.commands.common import EXIT_MISTAKE, AsJson, print_json
from nightlab.settings import Places


def ui(
    port: Annotated[int, typer.Option(help="MLflow's port")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Prefect's port")] = 4200,
) -> None:
    """Serve MLflow's and Prefect's pages on this machine until Ctrl-C."""
    from flows.pages import serve_pages

    serve_pages(Places.find(), Console(), port=port, prefect_port=prefect_port)


def doctor(
    as_json: AsJson = False,
    model: Annotated[str | None, typer.Option(help="Model to try")] = None,
    api_base: Annotated[str | None, typer.Option(help="Address of the model's endpoint")] = None,
) -> None:
    """Check what Nightlab needs, by trying it, and say what to do about each."""
    from nightlab.doctor import examine, healthy, print_findings

    console = Console()
    with console.status("Trying everything …"):
        findings = examine(Places.find(), model=model, api_base=api_base)
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        print_findings(console, findings)
    if not healthy(findings):
        raise typer.Exit(EXIT_MISTAKE)
