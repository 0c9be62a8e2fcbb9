"""Colours of the report and how its plots are drawn as SVG that follows the page's theme.

Lines and letters that should change between a light and a dark page are drawn in two marker
colours, which `svg_text` turns into ``currentColor`` and a variable of the style sheet.
"""

from sciddiff.report.figures import Look

HELIX_COLOUR = "#d1495b"
STRAND_COLOUR = "#2e86ab"
COIL_COLOUR = "#9aa7b3"
STATE_COLOURS = (COIL_COLOUR, HELIX_COLOUR, STRAND_COLOUR)
"""Colours of coil, helix and strand, indexed by state; told apart by colour-blind readers."""

DESIGN_COLOUR = "#e07a1f"
NATIVE_COLOUR = "#3b8f7a"

INK = "#010203"
GRID = "#040506"
"""Marker colours: text and axes, and faint lines."""

LOOK = Look(
    extra="protein", ink=INK, ticks=INK, edge=GRID, grid=GRID,
    swaps={INK: "currentColor", GRID: "var(--line)"}, more={"image.cmap": "viridis"},
)  # fmt: skip
"""What all figures of the page have in common."""

new_figure = LOOK.new_figure
svg_text = LOOK.svg_text
