"""The table of attacks in docs/security.md: ``python -m tests.adversarial.table`` writes it.

It is made from the files; a verdict in it is what the tests assert, so it cannot say more
than they have seen.
"""

from pathlib import Path

from tests.adversarial.harness import KINDS, Attack, all_attacks

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN = "<!-- attacks: made by `python -m tests.adversarial.table` -->\n"
END = "<!-- end of attacks -->\n"
_TITLES = {
    "containment": "To get out: keys, files, network, survival",
    "gate": "To train more than others: the data gate and the clock",
    "protocol": "To confuse the engine: socket, log, weights",
    "text": "To stop the engine, or mislead it, with text alone",
    "resources": "To take the machine down",
    "audit": "To score better than the model is",
}


def attack_table() -> str:
    """The table, one part for each kind."""
    lines: list[str] = []
    for kind in KINDS:
        lines += [f"### {_TITLES[kind]}", ""]
        lines += ["| attack | what stops it | rung 1 | rung 2 | file |", "|---|---|---|---|---|"]
        lines += [_row(attack) for attack in all_attacks() if attack.kind == kind]
        lines.append("")
    return "\n".join(lines)


def _row(attack: Attack) -> str:
    verdicts = [_verdict(attack, rung) for rung in ("1", "2")]
    path = f"../tests/adversarial/attacks/{attack.name}.py"
    cells = [attack.summary, attack.layer, *verdicts, f"[{attack.name}]({path})"]
    return f"| {' | '.join(cells)} |"


def _verdict(attack: Attack, rung: str) -> str:
    if rung in attack.open:
        return "gets through"
    return "stopped as root" if rung in attack.open_to_users else "stopped"


def split_document() -> tuple[str, str, str]:
    """The document before its table, the table, and after it."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def main() -> None:
    """Write the table anew."""
    before, _, after = split_document()
    DOCUMENT.write_text(f"{before}{BEGIN}\n{attack_table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
