"""An interactive viewer inside a page, without a network.

Mol* (Sehnal et al. 2021) is taken from the installed package ``ipymolstar``, whose widget
carries the whole library in one script; it is compressed into the page and unpacked by the
browser. Without that package, or where the browser has no WebGL, a page falls back on its own
small viewer, which draws on a flat canvas.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from sciddiff.report.page import asset, pack

_LOG = logging.getLogger(__name__)

PACKAGE = "ipymolstar"
_EXPORT = "export{"
_CALL = ".Viewer.create("
_NAME = re.compile(r"[A-Za-z_$][\w$]*$")


@dataclass(frozen=True)
class MolstarAssets:
    """Mol* as the page embeds it.

    Attributes:
        script: gzip and base64 of a classic script that sets ``window.molstarLibrary``.
        style: gzip and base64 of its style sheet.
        version: version of the package it was read from.
    """

    script: str
    style: str
    version: str


def as_classic_script(module: str) -> str | None:
    """Turn the widget's ES module into a script that leaves the library in a global.

    The bundle holds the library in one top-level variable, the one whose ``Viewer.create`` the
    widget calls; nothing else of the module is needed.

    Args:
        module: text of the module.

    Returns:
        The script, or None when the bundle is not of that form.
    """
    # Plain searches from the end: a pattern would take a minute over five megabytes of script.
    call, export = module.rfind(_CALL), module.rfind(_EXPORT)
    if call < 0 or export < 0:
        return None
    library = _NAME.search(module[max(call - 80, 0) : call])
    closing = module.find("}", export)
    if library is None or closing < 0:
        return None
    body = module[:export] + module[closing + 1 :].lstrip(";")
    return f"(() => {{\n{body}\nwindow.molstarLibrary = {library.group()};\n}})();\n"


def molstar_assets() -> MolstarAssets | None:
    """Mol* out of the installed package; None, with a log line, when it cannot be had."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        _LOG.info("%s is not installed: the report uses its simple viewer", PACKAGE)
        return None
    try:
        # Paths, not importlib.resources: importing the package would load notebook widgets.
        static = Path(spec.submodule_search_locations[0]) / "static"
        module = (static / "molviewspec.js").read_text(encoding="utf-8")
        style = (static / "molviewspec.css").read_text(encoding="utf-8")
        script, installed = as_classic_script(module), version(PACKAGE)
    except (OSError, PackageNotFoundError, UnicodeDecodeError) as error:
        _LOG.warning(
            "%s: its scripts cannot be read (%s): using the simple viewer", PACKAGE, error
        )
        return None
    if script is None:
        _LOG.warning("%s %s has an unknown form: using the simple viewer", PACKAGE, installed)
        return None
    return MolstarAssets(pack(script), pack(style), installed)


def viewer_style() -> str:
    """Style sheet of the viewer and of what stands beside it."""
    return asset("protein.viewer", "viewer.css")


def viewer_script() -> str:
    """Script that starts Mol*, or turns a canvas with the pointer where that cannot run."""
    return asset("protein.viewer", "viewer.js")


def viewer_data(assets: MolstarAssets | None) -> dict[str, str]:
    """What the script unpacks, by the identifiers of its elements.

    Args:
        assets: Mol*, or None for the simple viewer alone.
    """
    if assets is None:
        return {}
    return {"molstar-script": assets.script, "molstar-style": assets.style}


def credit(assets: MolstarAssets | None) -> str:
    """Whose viewer it is, a sentence; plain text."""
    if assets is None:
        return ""
    return (
        "Three-dimensional viewer: Mol* (MIT licence; Sehnal et al., Nucleic Acids Research "
        f"2021), from ipymolstar {assets.version}."
    )


MISSING = "Install the package ipymolstar and make the report again for the full viewer (Mol*)."
"""What to say where Mol* is not in the page."""
