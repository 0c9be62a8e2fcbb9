"""Writing: what was written is read again, to the last decimal, by us and by Biopython."""

import gzip
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein.structures.chain import Backbone, OtherAtom, SideAtom
from protein.structures.read import read_structure
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_mmcif, write_models, write_pdb, write_structure
from sciddiff.errors import InputError

SUFFIXES = ("pdb", "cif", "pdb.gz", "cif.gz")


def same(one: Backbone, two: Backbone) -> None:
    """Assert equality to half of the last decimal."""
    assert np.abs(one.coords.astype(float) - two.coords).max() <= 0.00051
    assert one.sequence == two.sequence and one.chain_id == two.chain_id
    assert one.labels == two.labels


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_chains_round_trip(chain, tmp_path, suffix: str) -> None:
    odd = replace(
        chain.select(slice(3, 12)),
        chain_id="B",
        residue_numbers=np.asarray([-3, -2, 5, 52, 52, 52, 100, 900, 9999]),
        insertion_codes=("", "", "", "", "A", "B", "", "", ""),
    )
    unknown = replace(odd, chain_id="c", sequence="X" * 9)
    path = tmp_path / f"file.{suffix}"
    write_structure(path, [chain, odd, unknown], title="a title; with 'quotes'")
    structure = read_structure(path)
    for one, two in zip((chain, odd, unknown), structure.chains, strict=True):
        same(one, two)
    again = tmp_path / f"again.{suffix}"
    write_structure(again, structure, title="a title; with 'quotes'")
    if not suffix.startswith("cif"):  # mmCIF names its block after the file
        assert again.read_bytes() == path.read_bytes()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 30),
    start=st.integers(-50, 9000),
    suffix=st.sampled_from(SUFFIXES[:2]),
    name=st.sampled_from("AZaz09"),
)
def test_any_chain_round_trips(tmp_path_factory, seed, length, start, suffix, name) -> None:
    rng = np.random.default_rng(seed)
    coords = backbone_from_torsions(rng.uniform(-3, 3, (length, 3))) + rng.uniform(-400, 400, 3)
    letters = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWYX"), length))
    chain = Backbone(coords.astype(np.float32), letters, name, start + np.arange(length))
    path = tmp_path_factory.mktemp("any") / f"x.{suffix}"
    write_structure(path, chain)
    same(chain, read_structure(path).chains[0])


def test_pdb_says_what_it_cannot_hold_and_mmcif_holds_it(chain, tmp_path) -> None:
    wide = replace(
        chain,
        chain_id="AB12",
        residue_numbers=chain.residue_numbers + 123456,
        coords=chain.coords + np.float32([2000, 0, -5_000]),
    )
    short = replace(chain, chain_id="A")
    write_mmcif(tmp_path / "x.cif", [wide, short])
    same(wide, read_structure(tmp_path / "x.cif").chains[0])
    changes = write_pdb(tmp_path / "x.pdb", [short, wide, short])
    assert changes.chains == (("AB12", "B"), ("A", "C"))
    first, second, third = read_structure(tmp_path / "x.pdb").chains
    assert [c.chain_id for c in (first, second, third)] == ["A", "B", "C"]
    assert second.residue_numbers.tolist() == list(range(1, 21))
    # Below -999.999 the columns hold two decimals.
    np.testing.assert_allclose(second.coords, wide.coords, atol=6e-3)
    assert first.residue_numbers.tolist() == third.residue_numbers.tolist()
    text = (tmp_path / "x.pdb").read_text()
    assert "REMARK  99 chain AB12 is called B here\n" in text
    assert "REMARK  99 residues 1-20 of chain B are AB12123457 to AB12123476\n" in text
    assert max(map(len, text.splitlines())) <= 80
    assert (
        not write_pdb(tmp_path / "y.pdb", short)
        and "REMARK" not in (tmp_path / "y.pdb").read_text()
    )


def test_coordinates_that_fit_eight_columns_stay(chain, tmp_path) -> None:
    far = replace(chain, coords=chain.coords + np.float32([5000, -900, 0]))
    assert not write_pdb(tmp_path / "x.pdb", far)
    same(far, read_structure(tmp_path / "x.pdb").chains[0])


def test_more_atoms_than_serial_numbers(chain, tmp_path) -> None:
    many = [
        replace(chain.select([i % 20 for i in range(900)]), chain_id=name,
                residue_numbers=np.arange(1, 901),
                coords=chain.coords[[i % 20 for i in range(900)]]
                + np.arange(900, dtype=np.float32)[:, None, None])
        for name in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcd"
    ]  # fmt: skip
    write_pdb(tmp_path / "x.pdb", many)
    lines = (tmp_path / "x.pdb").read_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.startswith("ATOM")][-1][6:11] == "A0671"
    assert [len(c) for c in read_structure(tmp_path / "x.pdb").chains] == [900] * 30


def test_side_chains_are_read_on_request_and_written(chain, tmp_path) -> None:
    side = tuple((SideAtom("CB", "C", (float(i), 1.0, 2.0)),) for i in range(20))
    both = replace(chain, side_chains=side)
    for suffix in SUFFIXES:
        write_structure(tmp_path / f"x.{suffix}", both)
        assert read_structure(tmp_path / f"x.{suffix}").chains[0].side_chains == ()
        again = read_structure(tmp_path / f"x.{suffix}", side_chains=True).chains[0]
        assert again.side_chains == side
        assert again.select([3]).side_chains == (side[3],)


def test_models_of_a_trajectory(chain, tmp_path) -> None:
    moved = [replace(chain, coords=chain.coords + np.float32(step)) for step in range(3)]
    write_models(tmp_path / "x.cif", moved)
    for step in range(3):
        same(moved[step], read_structure(tmp_path / "x.cif", step).chains[0])
    with pytest.raises(InputError, match="models have different residues"):
        write_models(tmp_path / "x.cif", [chain, chain.select([0])])


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_b_factors_and_beta_carbons(chain, tmp_path, suffix: str) -> None:
    from Bio.PDB.MMCIFParser import MMCIFParser
    from Bio.PDB.PDBParser import PDBParser

    path, values = tmp_path / f"x.{suffix}", np.linspace(0, 100, 20)
    write_structure(path, chain, values, beta_carbon=True)
    parser = PDBParser(QUIET=True) if suffix == "pdb" else MMCIFParser(QUIET=True)
    residues = list(parser.get_structure("x", str(path)).get_residues())
    assert [r.has_id("CB") for r in residues] == [letter != "G" for letter in chain.sequence]
    found = [r["CA"].get_bfactor() for r in residues]
    np.testing.assert_allclose(found, values, atol=0.0051)
    assert all(a.element == a.id[0] for r in residues for a in r)
    with pytest.raises(InputError, match="19 b_factors for 20 residues"):
        write_structure(path, chain, values[:-1])


def test_b_factors_of_several_chains(chain, tmp_path) -> None:
    path = tmp_path / "x.pdb"
    pair = [chain, replace(chain.select(slice(0, 5)), chain_id="B")]
    write_pdb(path, pair, [np.full(20, 1.0), np.full(5, 2.0)])
    lines = [line for line in path.read_text().splitlines() if line.startswith("ATOM")]
    assert {(line[21], line[60:66].strip()) for line in lines} == {("A", "1.00"), ("B", "2.00")}


def test_pdb_columns(chain, tmp_path) -> None:
    write_pdb(tmp_path / "x.pdb", chain)
    lines = (tmp_path / "x.pdb").read_text().splitlines()
    assert lines[1] == (
        f"ATOM      2  CA  ALA A   1    {0:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           C"
    ).replace("-0.000", " 0.000")
    assert lines[-2].startswith("TER      81      TYR A  20") and lines[-1] == "END"


def test_mmcif_has_what_viewers_ask_for(chain, tmp_path) -> None:
    from Bio.PDB.MMCIF2Dict import MMCIF2Dict

    copy = replace(chain, chain_id="B2")
    write_mmcif(
        tmp_path / "my file.cif", [chain, copy, replace(chain.select([0, 1]), chain_id="C")]
    )
    data = MMCIF2Dict(str(tmp_path / "my file.cif"))
    assert data["data_"] == "my_file"
    assert data["_entity.id"] == ["1", "2"] and set(data["_entity.type"]) == {"polymer"}
    assert data["_entity_poly.pdbx_strand_id"] == ["A,B2", "C"]
    assert data["_struct_asym.entity_id"] == ["1", "1", "2"]
    assert data["_entity_poly_seq.mon_id"][:3] == ["ALA", "CYS", "ASP"]
    atoms = len(data["_atom_site.id"])
    assert atoms == 4 * 42 == len(set(data["_atom_site.id"]))
    for name in (
        "label_seq_id",
        "label_asym_id",
        "label_entity_id",
        "auth_asym_id",
        "type_symbol",
    ):
        assert len(data[f"_atom_site.{name}"]) == atoms
    assert data["_atom_site.auth_asym_id"][80] == "B2"
    assert data["_atom_site.label_asym_id"][80] == "B"


def test_same_structure_same_bytes(chain, tmp_path) -> None:
    write_pdb(tmp_path / "a.pdb.gz", chain)
    write_pdb(tmp_path / "b.pdb.gz", chain)
    assert (tmp_path / "a.pdb.gz").read_bytes() == (tmp_path / "b.pdb.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.pdb.gz").read_bytes()).startswith(b"ATOM")


def test_files_appear_whole_or_not_at_all(chain, tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.pdb"
    write_pdb(path, chain)
    before = path.read_bytes()

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_pdb(path, chain.select(slice(0, 3)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_unknown_suffix_and_nothing_to_write(chain, tmp_path) -> None:
    with pytest.raises(InputError, match="unknown suffix"):
        write_structure(tmp_path / "x.xyz", chain)
    with pytest.raises(InputError, match="no residues to write"):
        write_pdb(tmp_path / "x.pdb", [])


def test_ligands_are_written_after_the_chains_and_read_again(tmp_path):
    chain = Backbone.from_coords(backbone_from_torsions(np.zeros((8, 3))), "ACDEFGHI")
    others = (
        OtherAtom("C1", "C", (1.0, 2.0, 3.0), "LIG", "A", 300),
        OtherAtom("O1'", "O", (1.5, 2.5, -3.25), "LIG", "A", 300),
        OtherAtom("ZN", "ZN", (10.0, 20.0, 30.0), "ZN", "B", 1, "C"),
    )
    for name in ("one.cif", "one.pdb"):
        write = write_mmcif if name.endswith("cif") else write_pdb
        write(tmp_path / name, chain, others=others)
        found = read_structure(tmp_path / name, side_chains=True)
        assert found.surroundings == others
        assert len(found.chains) == 1 and found.chains[0].sequence == "ACDEFGHI"
    long = (others[0]._replace(residue="A1BCD"),)
    write_mmcif(tmp_path / "long.cif", chain, others=long)
    assert read_structure(tmp_path / "long.cif", side_chains=True).surroundings == long
    with pytest.raises(InputError, match="PDB cannot hold"):
        write_pdb(tmp_path / "long.pdb", chain, others=long)
