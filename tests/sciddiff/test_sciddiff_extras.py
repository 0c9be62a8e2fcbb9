"""What is missing is named before work begins, all of it, with the command that installs it."""

import sys

import pytest

from sciddiff.domains import check_needs
from sciddiff.errors import MissingExtra
from sciddiff.extras import Needs, missing, packages, provider, remedy


def test_an_extra_is_what_the_distribution_says():
    assert {"biopython", "scipy", "torch-geometric"} <= set(packages("protein"))
    assert packages("protein") and not set(packages("protein")) & {"torch", "numpy"}
    assert packages("no-such-extra") == [] and packages("protein", "no-such-distribution") == []


@pytest.mark.parametrize("extra", ["protein", "docking", "weather"])
def test_every_package_is_found_under_the_name_it_is_imported_by(extra):
    pytest.importorskip({"protein": "Bio", "docking": "rdkit", "weather": "netCDF4"}[extra])
    assert missing(extra) == []


def test_all_that_is_missing_is_named_with_one_remedy(monkeypatch):
    for module in ("Bio", "scipy", "tmtools"):
        monkeypatch.setitem(sys.modules, module, None)
    assert missing("protein") == ["biopython", "scipy", "tmtools"]
    said = str(MissingExtra("scipy", "protein"))
    assert said == (
        "scipy, biopython, tmtools are not installed; run: pip install 'sciddiff[protein]'"
    )
    with pytest.raises(MissingExtra, match=r"pip install 'sciddiff\[protein,docking\]'") as caught:
        MissingExtra.check(Needs(("protein", "docking")))
    assert str(caught.value).count("scipy") == 1
    with pytest.raises(MissingExtra, match="biopython, scipy, tmtools are not installed"):
        check_needs("protein.backbone.domain.BackboneDomain")


def test_what_something_can_do_without_is_no_obstacle(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipymolstar", None)
    assert Needs(("protein",)).missing == ["ipymolstar"]
    assert Needs(("protein",), optional=("ipymolstar",)).missing == []
    check_needs("protein.backbone.domain.BackboneDomain")


def test_a_module_leads_to_its_extra():
    assert provider("tmtools") == ("tmtools", "protein")
    assert provider("torch") is None and provider("nothing_here") is None
    assert remedy(["weather"]) == "pip install 'sciddiff[weather]'"
