"""The picture of a study as a file: its drawing with a heading and a legend, light and dark."""

from nightlab.report.page import study_templates
from nightlab.report.staircase import HEIGHT, LEFT, SAMPLE, WIDE, legend
from nightlab.report.study import Study

TEMPLATE = "picture.svg.j2"
HEADING_HEIGHT = 38
ROW_HEIGHT = 20
"""Of the legend."""
LETTER_WIDTH = 6.4
GAP = 26


def render_picture(study: Study) -> str:
    """Return the picture as an SVG document that needs nothing else; text in it is escaped."""
    placed, end = [], HEADING_HEIGHT + HEIGHT
    x = float(LEFT)
    for sample, said in legend(study):
        width = SAMPLE[0] + 6 + LETTER_WIDTH * len(said)
        if x + width > WIDE:
            x, end = float(LEFT), end + ROW_HEIGHT
        placed.append((x, end, sample, said))
        x += width + GAP
    template = study_templates().get_template(TEMPLATE)
    return template.render(
        study=study,
        heading=f"{study.name}: val_bpb (bits per byte), lower is better",
        legend=placed,
        left=LEFT,
        top=HEADING_HEIGHT,
        width=WIDE,
        height=end + 2 * ROW_HEIGHT,
    )
