"""Draw docs/architecture.png from the source: ``python docs/draw_architecture.py``.

A row for each room of nightlab/ with its lines of code, a column for each that it imports
from, and the number of such imports where they meet. As imports run one way, everything
stands below the diagonal.
"""

import sys
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.test_architecture import ROOMS, imported, rooms  # noqa: E402 - found by the line above

INK, FAINT, GRID = "#1f2328", "#8b949e", "#e3e7eb"


def read() -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Lines of each room, and imports by (room, room imported from)."""
    lines: Counter[str] = Counter()
    arrows: Counter[tuple[str, str]] = Counter()
    for room, path in rooms():
        text = path.read_text(encoding="utf-8")
        lines[room] += text.count("\n")
        arrows.update((room, other) for other in imported(text) if other in ROOMS and other != room)
    return lines, arrows


def main() -> None:
    """Read the source and write the picture."""
    lines, arrows = read()
    # Read from the bottom: the words that all use come first, and each room adds to them.
    order, count = ROOMS[::-1], len(ROOMS)
    figure, axes = plt.subplots(figsize=(10, 7.2))
    for number in range(count + 1):
        axes.plot([0, count], [number, number], color=GRID, linewidth=0.8)
        axes.plot([number, number], [0, count], color=GRID, linewidth=0.8)
    for (room, other), imports in arrows.items():
        row, column = order.index(room), order.index(other)
        shade = plt.get_cmap("Blues")(0.15 + 0.6 * min(imports, 40) / 40)
        axes.add_patch(plt.Rectangle((column, row), 1, 1, color=shade))
        ink = "white" if imports > 25 else INK
        axes.text(column + 0.5, row + 0.5, imports, ha="center", va="center", size=9, color=ink)
    for number, room in enumerate(order):
        axes.add_patch(plt.Rectangle((number, number), 1, 1, color="#d0d7de"))
        axes.text(-1.5, number + 0.5, room, ha="right", va="center", size=11, color=INK)
        said = f"{lines[room]:,}"
        axes.text(-0.2, number + 0.5, said, ha="right", va="center", size=8, color=FAINT)
        axes.text(number + 0.4, -0.2, room, ha="left", va="bottom", size=10, rotation=40, color=INK)
    axes.set_xlim(-3.6, count + 1.2)
    axes.set_ylim(count + 0.1, -2.4)  # the first row on top
    axes.axis("off")
    axes.set_title("How often each room (its lines of code) imports from the rooms below", size=11)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "architecture.png", dpi=100)


if __name__ == "__main__":
    main()
