"""States of molecules: stereoisomers, tautomers, protonation states, salts, and their table."""

import csv
import json

import pytest

pytest.importorskip("rdkit")
from rdkit import Chem

from protein.docking.molecules.files import ligand_records
from protein.docking.molecules.states import (
    KINDS,
    STATES,
    StateSettings,
    enumerate_states,
    largest_part,
    write_states,
)
from protein.docking.pipeline.settings import EFFORTS
from protein.docking.search.monte_carlo import SearchSettings
from sciddiff.cli.main import main
from sciddiff.errors import InputError, MissingExtra


def _states(smiles: str, *kinds: str, **rest):
    return enumerate_states(Chem.MolFromSmiles(smiles), StateSettings(kinds, **rest))


@pytest.mark.parametrize(
    ("smiles", "count"),
    [
        ("CC(F)Cl", 2),
        ("OC(C(O)C(=O)O)C(=O)O", 3),  # tartaric acid: two enantiomers and the meso form
        ("C[C@H](F)C(N)Cl", 2),  # the centre that is given stays
        ("CC=CC", 2),
        ("NC1CC2CCC1C2", 4),  # bridgeheads allow each other two of four configurations
        ("CC(C)OP(C)(=O)O", 1),  # no centre: its oxygens differ only in the drawing
        ("CC(F)OP(C)(=O)[O-]", 2),  # nor beside one that is
        ("CC(F)C[NH+](CC)CCC", 2),  # an ammonium loses its hydrogen and inverts
        ("CC1CC[NH+](C)CC1", 1),
        ("CC[N+](C)(CCC)CC=C", 2),  # without a hydrogen it cannot
        ("CCO", 1),
    ],
)
def test_stereoisomers_are_those_that_the_input_leaves_open(smiles, count):
    found = _states(smiles, "stereo").smiles
    assert len(set(found)) == len(found) == count
    flat = {Chem.MolToSmiles(Chem.MolFromSmiles(s), isomericSmiles=False) for s in found}
    assert len(flat) == 1
    centre = Chem.MolFromSmarts("C[C@H](F)C")  # as given
    if smiles.startswith("C[C@H]"):
        hits = [Chem.MolFromSmiles(s).HasSubstructMatch(centre, useChirality=True) for s in found]
        assert all(hits)


def test_tautomers_move_hydrogens_between_heteroatoms():
    assert _states("Cc1c[nH]cn1", "tautomers").smiles == ("Cc1c[nH]cn1", "Cc1cnc[nH]1")
    assert _states("Oc1ccncc1", "tautomers").smiles == ("Oc1ccncc1", "O=c1cc[nH]cc1")
    # No enol, no iminol of an amide, no transfer to carbon.
    for smiles in ("CC(=O)CC(C)=O", "CC(=O)Nc1ccccc1", "OC(C)C(=O)O", "CC=NO"):
        assert len(_states(smiles, "tautomers").smiles) == 1, smiles


def test_protomers_follow_the_ph():
    pytest.importorskip("dimorphite_dl")
    assert _states("CC(=O)O", "protomers").smiles == ("CC(=O)[O-]",)
    assert _states("CC(=O)O", "protomers", ph=1.0).smiles == ("CC(=O)O",)
    assert _states("CCN", "protomers").smiles == ("CC[NH3+]",)
    first, *others = _states("CN1CCNCC1", "protomers").smiles
    assert first == "C[NH+]1CC[NH2+]CC1" and "CN1CCNCC1" in others
    # The drawing of the charge does not matter.
    assert set(_states("CC(=O)[O-]", "protomers").smiles) == {"CC(=O)[O-]"}
    both = _states("NCC(F)C(=O)O", "stereo", "protomers").smiles
    assert all("[NH3+]" in s or "[O-]" in s for s in both) and len(both) >= 2


def test_drawings_of_one_molecule_are_one_state():
    pytest.importorskip("dimorphite_dl")
    both = ("tautomers", "protomers")
    assert _states("N=C(N)NCC(=O)NC(=N)N", *both).smiles == ("NC(=[NH2+])NCC(=O)NC(N)=[NH2+]",)
    for smiles, ph, charge in (("Cc1c[nH]cn1", 6.0, "+"), ("Oc1ccccn1", 7.4, "-")):
        found = _states(smiles, *both, ph=ph).smiles
        assert len(found) == 3 and sum(charge in s for s in found) == 1  # one imidazolium
    # Where the hydrogen is matters, and so does the configuration of a double bond.
    assert len(_states("Cc1c[nH]cn1", *both).smiles) == 2
    assert len(_states("CC(F)=CC(=O)O", "stereo", "protomers").smiles) == 2


def test_states_are_capped_and_it_is_said():
    found = _states("CC(N)C(F)C(Cl)C(Br)CO", "stereo", most=5)
    assert len(found.smiles) == 5 and found.note == "the first 5 of more states are kept"
    assert _states("CC(F)C(Cl)Br", "stereo", most=4).note == ""


def test_salts_lose_their_ions_and_it_is_said():
    part, others = largest_part(Chem.MolFromSmiles("[Na+].CC(=O)[O-].Cl"))
    assert Chem.MolToSmiles(part) == "CC(=O)[O-]" and others == ["Cl", "[Na+]"]
    # The counter-ion may be larger than the molecule, or as large, and stand first.
    for salt, kept in (
        ("CCN.OS(=O)(=O)O", "CCN"),
        ("CC(=O)[O-].OCC[NH3+]", "[NH3+]CCO"),
        ("OC(=O)/C=C/C(=O)O.CNCCO", "CNCCO"),
        ("O.O.CCO", "CCO"),
    ):
        assert _states(salt, strip=True).smiles == (kept,)
    assert _states("CCN.OS(=O)(=O)O", strip=True).note == "without O=S(=O)(O)O"
    with pytest.raises(InputError, match="salt or mixture"):
        _states("CCN.Cl")


def test_unknown_kinds_and_missing_packages_are_one_line(monkeypatch):
    with pytest.raises(InputError, match="'isomers' is none of stereo, tautomers, protomers"):
        StateSettings(("isomers",))
    monkeypatch.setitem(__import__("sys").modules, "dimorphite_dl", None)
    with pytest.raises(MissingExtra, match=r"dimorphite-dl is not installed; run: .*states"):
        _states("CC(=O)O", "protomers")


def test_the_table_of_states_is_a_library(tmp_path, monkeypatch):
    source = tmp_path / "lib.smi"
    source.write_text("CC(F)Cl a\nnonsense bad\n[Na+].CC(=O)[O-] salt\nCCO a\n")
    table, settings = tmp_path / STATES, StateSettings(("stereo",), strip=True)
    write_states(str(source), table, settings)
    records = list(ligand_records(table))
    assert [(r.name, r.parent) for r in records] == [
        ("a_state1", "a"), ("a_state2", "a"), ("bad", "bad"), ("salt", "salt"), ("a_2", "a_2"),
    ]  # fmt: skip
    rows = [record.read() for record in records]
    assert [row.ligand is None for row in rows] == [False, False, True, False, False]
    assert "nonsense" in rows[2].error and rows[3].note == "without [Na+]"
    # Again: what has not changed is taken over, and the table is the same.
    before = table.read_bytes()
    import protein.docking.molecules.states as module

    asked = []
    enumerated = module.enumerate_states
    monkeypatch.setattr(
        module, "enumerate_states", lambda *x: asked.append(x[2]) or enumerated(*x)
    )
    source.write_text(source.read_text() + "CC=CC new\n")
    write_states(str(source), table, settings)
    assert asked == ["new"] and table.read_bytes().startswith(before)
    write_states(str(source), table, StateSettings(KINDS[:2], strip=True))
    assert asked[1:] == ["a", "salt", "a_2", "new"]


def test_several_sources_are_one_library(tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "b.smi").write_text("CCN x\n")
    (folder / "a.smi").write_text("CCO\nCCC x\n")
    (folder / "notes.md").write_text("no ligands")
    (tmp_path / "c.smi").write_text("CCS x\n")
    records = list(ligand_records([tmp_path / "c.smi", folder, "CCCC"]))
    assert [(r.index, r.name, r.text) for r in records] == [
        (0, "x", "CCS"), (1, "a_1", "CCO"), (2, "x_2", "CCC"), (3, "x_3", "CCN"),
        (4, "ligand", "CCCC"),
    ]  # fmt: skip
    (folder / "a.smi").unlink(), (folder / "b.smi").unlink()
    with pytest.raises(InputError, match="holds no ligand file"):
        list(ligand_records(folder))


def test_states_are_docked_with_their_parents(tmp_path, files, monkeypatch, capsys):
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=16, rounds=2, final=20))
    out = tmp_path / "poses"
    words = [
        "dock", "-r", str(files / "receptor.pdb"), "-l", "CC(O)c1ccccc1", "[Na+].[O-]c1ccccc1",
        "--enumerate", "stereo", "--strip-salts", "--autobox-ligand", str(files / "ref.sdf"),
        "-o", str(out), "--effort", "fast", "--poses", "2", "--check", "0", "--json",
    ]  # fmt: skip
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["docked"] == 3
    rows = sorted(csv.DictReader((out / "results.csv").open()), key=lambda row: int(row["index"]))
    assert [row["parent"] for row in rows] == ["ligand", "ligand", "ligand_2"]
    assert rows[0]["smiles"] != rows[1]["smiles"] and "note" in rows[2]
    assert rows[2]["note"].startswith("without [Na+]")
    stamp = (out / rows[0]["file"]).stat().st_mtime_ns
    assert main(words) == 0 and (out / rows[0]["file"]).stat().st_mtime_ns == stamp
    capsys.readouterr()
    assert main([*words, "--max-states", "1"]) == 2
    said = capsys.readouterr().err
    assert "ligand 1" in said or "another command" in said
    assert main([*words, "--ph", "3"]) == 2
    assert "--ph: applies to --enumerate protomers only" in capsys.readouterr().err
    assert main([*words, "--enumerate", "charges"]) == 2
    assert "'charges' is none of" in capsys.readouterr().err
