"""Sphinx extension: formulas as MathML, which browsers draw without fetching a script."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def _inline(writer: HTML5Translator, node: nodes.Element) -> None:
    _write(writer, node, as_block=False)


def _block(writer: HTML5Translator, node: nodes.Element) -> None:
    _write(writer, node, as_block=True)


def _write(writer: HTML5Translator, node: nodes.Element, as_block: bool) -> None:
    """Write one formula; LaTeX that docutils cannot read is a warning, and shown as it is."""
    try:
        writer.body.append(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        writer.body.append(f"<code>{writer.encode(node.astext())}</code>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
