"""Flat drawings of molecules as small SVG elements.

RDKit writes an element with its own style for every bond and letter. Here each drawing has one
path for each colour and width, which makes a page of thousands of drawings five times smaller.
"""

import re
from typing import TYPE_CHECKING

from protein.docking.molecules.ligand import quietly

if TYPE_CHECKING:
    from rdkit.Chem import Mol

WIDTH, HEIGHT = 170, 100
"""Size of a drawing in its own units; the page scales it."""

_PATH = re.compile(r"<path class='[^']*' d='(?P<d>[^']*)' style='(?P<style>[^']*)'")
_TEXT = re.compile(
    r"<text x='(?P<x>[^']*)' y='(?P<y>[^']*)' class='[^']*' style='(?P<style>[^']*)' >"
    r"(?P<word>[^<]*)</text>"
)
_NUMBER = re.compile(r"-?\d+\.\d+")
_BLACK = ("#000000", "#191919")


def depict(mol: "Mol") -> str:
    """Draw a molecule as an SVG element in the colour of the text, with coloured elements.

    Args:
        mol: heavy-atom molecule; its conformers are not used.

    Returns:
        The element; empty if RDKit cannot lay the molecule out.
    """
    from rdkit.Chem import Mol
    from rdkit.Chem.Draw import rdMolDraw2D

    flat = Mol(mol)
    flat.RemoveAllConformers()
    try:
        drawing = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)
        options = drawing.drawOptions()
        options.clearBackground = False
        options.bondLineWidth = 1.3
        options.padding = 0.03
        options.fixedBondLength = 18.0
        options.minFontSize = 8
        quietly(rdMolDraw2D.PrepareAndDrawMolecule, drawing, flat)
        drawing.FinishDrawing()
        return small_svg(drawing.GetDrawingText())
    except (RuntimeError, ValueError):
        return ""


def small_svg(text: str) -> str:
    """RDKit's drawing with few elements: a path for each style, and the letters.

    Args:
        text: SVG that `MolDraw2DSVG` wrote without FreeType.
    """
    paths: dict[str, list[str]] = {}
    for found in _PATH.finditer(text):
        paths.setdefault(_stroke(found["style"]), []).append(_rounded(found["d"]))
    # Letters come one by one: neighbours of one height and style are still single letters.
    letters = [
        f'<text x="{_rounded(t["x"])}" y="{_rounded(t["y"])}"{_letter(t["style"])}>{t["word"]}'
        "</text>"
        for t in _TEXT.finditer(text)
    ]
    lines = [f'<path d="{"".join(d)}"{style}/>' for style, d in paths.items()]
    return (
        f'<svg class="mol" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f"{''.join(lines)}{''.join(letters)}</svg>"
    )


def _style(text: str) -> dict[str, str]:
    return dict(part.split(":", 1) for part in text.split(";") if ":" in part)


def _colour(value: str) -> str:
    return "currentColor" if value.upper() in _BLACK else value


def _stroke(text: str) -> str:
    style = _style(text)
    fill = style.get("fill", "none")
    colour = _colour(style.get("stroke", "#000000"))
    filled = "none" if fill == "none" else _colour(fill)
    width = style.get("stroke-width", "1px").removesuffix("px")
    dash = style.get("stroke-dasharray")
    more = f' stroke-dasharray="{dash}"' if dash else ""
    return f' fill="{filled}" stroke="{colour}" stroke-width="{float(width):g}"{more}'


def _letter(text: str) -> str:
    style = _style(text)
    size = style.get("font-size", "10px").removesuffix("px")
    anchor = style.get("text-anchor", "start")
    return f' font-size="{size}" text-anchor="{anchor}" fill="{_colour(style.get("fill", ""))}"'


def _rounded(text: str) -> str:
    short = _NUMBER.sub(lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), text)
    return re.sub(r"\s*([MLQCZ,])\s*", r"\1", short)
