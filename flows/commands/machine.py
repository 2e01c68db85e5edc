"""Commands about this machine: its pages, its health."""

import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from flows.commands.common import EXIT_FAILED, AsJson, print_json, validated_settings
from flows.terminal import make_console
from nightlab.settings import Places

if TYPE_CHECKING:
    from nightlab.doctor import Finding


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's port")] = 5000,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Prefect's port")] = 4200,
) -> None:
    """Serve MLflow's and Prefect's pages on this machine until Ctrl-C."""
    from flows.pages import serve_pages

    serve_pages(Places.find(), make_console(), port=port, prefect_port=prefect_port)


def doctor(
    as_json: AsJson = False,
    model: Annotated[str | None, typer.Option(help="Model to try")] = None,
    api_base: Annotated[str | None, typer.Option(help="Address of the model's endpoint")] = None,
    api_key_secret: Annotated[
        str | None, typer.Option(help="Where the model's key is, as for nightlab research")
    ] = None,
    fleet: Annotated[
        bool,
        typer.Option(
            "--fleet", help="Try what nights on other machines need, and not this machine"
        ),
    ] = False,
) -> None:
    """Try out everything Nightlab needs, and say how to fix what does not work."""
    from flows.local_server import prefect_state
    from nightlab.doctor import examine, healthy, print_findings

    console, places = make_console(), Places.find()
    keys = {} if fleet else _named_keys(model, api_base, api_key_secret)
    with console.status("Trying everything …"):
        if fleet:
            findings = _examine_fleet(places)
        else:
            findings = examine(
                places,
                model=model,
                api_base=api_base,
                keys=keys,
                prefect=lambda: prefect_state(places.cache),
            )
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        print_findings(console, findings)
    if not healthy(findings):
        raise typer.Exit(EXIT_FAILED)


def _examine_fleet(places: Places) -> "list[Finding]":
    from flows.local_server import configure_prefect

    configure_prefect(places.cache, console=False)  # before Prefect is imported
    from flows.fleet import examine_fleet

    return examine_fleet(places)


def _named_keys(
    model: str | None, api_base: str | None, api_key_secret: str | None
) -> Mapping[str, SecretStr]:
    """The keys that were named, by the provider or address that each is for."""
    setting = validated_settings({"api_key_secret": api_key_secret}).api_key_secret
    if not model or not setting:
        return {}
    from flows.keys import read_api_keys
    from nightlab.models.keys import keys_of_models
    from nightlab.proposers import read_models

    models = read_models(model, api_base)
    return keys_of_models(models, setting, read_api_keys(setting), os.environ)


def local_model(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one")] = 8080,
    context_tokens: Annotated[
        int, typer.Option(min=512, help="Most tokens in a prompt and its answer together")
    ] = 16_384,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Most tokens in an answer")] = 400,
) -> None:
    """Serve a small model on this machine until Ctrl-C, to try Nightlab without a key."""
    from nightlab.models.local_model import MODEL_NAME, serve_local_model

    console = make_console()
    with serve_local_model(
        host=host, port=port, context_tokens=context_tokens, answer_tokens=answer_tokens
    ) as address:
        console.say(
            f"Serving {MODEL_NAME} at {address}. In another terminal:\n"
            "nightlab research --study small-talk --trials 4 --model-timeout-seconds 600 "
            f"--model openai/{MODEL_NAME} --api-base {address}"
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            console.print("Stopped.")
