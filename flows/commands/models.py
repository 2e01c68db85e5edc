"""Commands about the trained models that a study kept."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flows.commands.common import (
    AsJson,
    RemoteName,
    Study,
    existing_ledger,
    print_json,
    print_notice,
    validated_settings,
)
from flows.terminal import make_console
from nightlab import events
from nightlab.settings import Places
from nightlab.shown import for_terminal

KeptTrial = Annotated[
    int | None, typer.Option("--trial", min=0, help="A kept trial's model (default: the champion)")
]


def sample(
    study: Study,
    text: Annotated[str, typer.Argument(help="What is to be continued", show_default=False)],
    trial: KeptTrial = None,
    length: Annotated[int, typer.Option(min=1, max=4096, help="Most tokens to write")] = 100,
    temperature: Annotated[
        float, typer.Option(min=0, max=100, help="0 always takes the likeliest token")
    ] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws")] = 0,
    device: Annotated[str, typer.Option(help="Device to compute on: cpu, cuda or cuda:N")] = "cpu",
    trust_candidate: Annotated[
        bool,
        typer.Option("--trust-candidate", help="Run without a sandbox: only code that you trust"),
    ] = False,
    remote: RemoteName = None,
    as_json: AsJson = False,
) -> None:
    """Have the baseline's and the champion's models continue a text, side by side."""
    from nightlab.evaluation.sampling import Draw
    from nightlab.sandbox import choose_sandbox
    from nightlab.sandbox.device import detect_device
    from nightlab.study.sampling import KeptModels, continue_text

    places, study = Places.find(), validated_settings({"study": study}).study
    if remote is not None:
        existing_ledger(study, remote)
    places.require_cache()
    models, console = KeptModels(places, study), make_console()
    draw = Draw(length=length, temperature=temperature, seed=seed)
    with events.listening(print_notice), console.status("Sampling …"):
        chosen = models.champion() if trial is None else models.of_trial(trial)
        baseline = None if chosen.model.is_baseline else models.baseline()
        shown = [chosen] if baseline is None else [baseline, chosen]
        where = detect_device(device)
        sandbox = choose_sandbox(trust_candidate, cache=places.cache, device=where, compiles=False)
        written = [
            continue_text(kept, text, draw, sandbox=sandbox, device=where, places=places)
            for kept in shown
        ]
    if as_json:
        print_json(
            [
                {**kept.model.model_dump(mode="json"), "continuation": continuation}
                for kept, continuation in zip(shown, written, strict=True)
            ]
        )
        return
    table = Table(box=None, padding=(0, 2), header_style="bold", expand=True)
    for kept in shown:
        whose = (
            "baseline" if kept.model.is_baseline else "kept" if trial is not None else "champion"
        )
        table.add_column(f"{whose}: {kept.model.label}", ratio=1)
    table.add_row(*(Text.assemble((text, "dim"), for_terminal(each)) for each in written))
    make_console().print(table)
    if chosen.model.is_baseline:
        console.print("Nothing else was kept yet: the baseline is the champion.", style="dim")
    elif baseline is None:
        console.print("The baseline's model is neither here nor in MLflow.", style="dim")


def export_model(study: str, folder: Path, trial: int | None = None) -> None:
    """Write a kept model into a folder in which `python generate.py` needs torch alone."""
    from nightlab.study.model_folder import write_copy
    from nightlab.study.sampling import KeptModels

    models = KeptModels(Places.find(), study)
    kept = models.champion() if trial is None else models.of_trial(trial)
    write_copy(kept.folder, folder)
    make_console().say(
        f"The model of {kept.model.label} is in {folder}: `python {folder / 'generate.py'} "
        '"TEXT"` continues a text, with torch alone; its card is README.md.'
    )
