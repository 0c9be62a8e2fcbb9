"""Reading files as they are found: every oddity has a small file of its own."""

import gzip

import numpy as np
import pytest

from protein.structures.read import read_structure
from protein.structures.write import write_mmcif, write_pdb
from sciddiff.errors import InputError

# N, CA, C, O of one residue; residue i stands 3.8 Å i along x, which leaves C and the next N
# close enough (1.4 Å) to count as bonded.
_PLACES = {"N": (0, 0, 0), "CA": (1.2, 0.8, 0), "C": (2.4, 0, 0), "O": (2.4, -1.2, 0)}


def atom(
    name: str,
    residue: str,
    number: int,
    *,
    chain: str = "A",
    alt: str = " ",
    code: str = " ",
    occupancy: float | None = 1.0,
    record: str = "ATOM",
    shift: float = 0.0,
    element: str = "",
) -> str:
    """One line of PDB."""
    x, y, z = _PLACES.get(name, (0.5, 0.5, 3.0))
    filled = "      " if occupancy is None else f"{occupancy:6.2f}"
    column = f" {name:<3s}" if len(element or name[0]) == 1 else f"{name:<4s}"
    return (
        f"{record:<6s}{1:5d} {column}{alt}{residue:>3s} {chain}{number:4d}{code}   "
        f"{x + 3.8 * number:8.3f}{y + shift:8.3f}{z:8.3f}{filled}{20.0:6.2f}"
        f"          {element or name[0]:>2s}\n"
    )


def residue(name: str, number: int, atoms: str = "N CA C O", **options) -> str:
    """The backbone lines of one residue."""
    return "".join(atom(a, name, number, **options) for a in atoms.split())


def read(tmp_path, *lines: str, name: str = "file.pdb", model: int = 0):
    """Write lines and read them back."""
    path = tmp_path / name
    path.write_text("".join(lines) + "END\n")
    return read_structure(path, model)


def test_plain_chain(tmp_path) -> None:
    structure = read(tmp_path, residue("GLY", 1), residue("TRP", 2), residue("LYS", 3))
    chain = structure.chain("A")
    assert chain.sequence == "GWK" and chain.labels == ("A1", "A2", "A3")
    assert chain.bonded.tolist() == [True, True, False]
    np.testing.assert_allclose(chain.coords[1, 3], [2.4 + 7.6, -1.2, 0.0], atol=1e-5)
    assert structure.notes == () and structure.resolution is None


@pytest.mark.parametrize(("a", "b", "shift"), [(0.6, 0.4, 0.0), (0.4, 0.6, 0.5), (0.5, 0.5, 0.0)])
def test_altloc_is_the_fullest_then_the_first(tmp_path, a: float, b: float, shift: float) -> None:
    both = "".join(
        atom(n, "SER", 2, alt="A", occupancy=a)
        + atom(n, "SER", 2, alt="B", occupancy=b, shift=0.5)
        for n in _PLACES
    )
    chain = read(tmp_path, residue("GLY", 1), both, residue("GLY", 3)).chains[0]
    assert len(chain) == 3
    assert chain.coords[1, 1, 1] == pytest.approx(0.8 + shift)


def test_altloc_never_mixes_conformers(tmp_path) -> None:
    # CA alone prefers B; the residue as a whole prefers A.
    occupancies = {"N": (0.7, 0.3), "CA": (0.4, 0.6), "C": (0.7, 0.3), "O": (0.7, 0.3)}
    both = "".join(
        atom(n, "SER", 2, alt="A", occupancy=a)
        + atom(n, "SER", 2, alt="B", occupancy=b, shift=0.5)
        for n, (a, b) in occupancies.items()
    )
    structure = read(tmp_path, residue("GLY", 1), both)
    assert structure.chains[0].coords[1, 1, 1] == pytest.approx(0.8)
    assert structure.counts["altlocs"] == 1


def test_point_mutation_takes_the_fuller_residue(tmp_path) -> None:
    lines = residue("SER", 2, alt="A", occupancy=0.3) + residue("THR", 2, alt="B", occupancy=0.7)
    assert read(tmp_path, residue("GLY", 1), lines).chains[0].sequence == "GT"


def test_blank_occupancy(tmp_path) -> None:
    assert len(read(tmp_path, residue("GLY", 1, occupancy=None)).chains[0]) == 1


def test_insertion_codes_keep_order_and_names(tmp_path) -> None:
    # Placed by x, so that A, B and the residue after stand in line.
    lines = [residue("GLY", 52)]
    for step, code in enumerate("AB", start=53):
        lines.append(residue("ALA", step).replace(f"A  {step}  ", f"A  52{code} "))
    chain = read(tmp_path, *lines, residue("SER", 55)).chains[0]
    assert chain.labels == ("A52", "A52A", "A52B", "A55")
    assert chain.index_of(52, "B") == 2
    with pytest.raises(InputError, match=r"residue A53 is absent.*52-52B,55 \(with 52A, 52B\)"):
        chain.index_of(53)


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        ("MSE", "M"),
        ("SEP", "S"),
        ("TPO", "T"),
        ("PTR", "Y"),
        ("CSO", "C"),
        ("HYP", "P"),
        ("HIE", "H"),
        ("HID", "H"),
        ("HIP", "H"),
        ("CYX", "C"),
        ("ASH", "D"),
        ("GLH", "E"),
        ("LYN", "K"),
        ("KCX", "K"),
    ],
)
@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
def test_modified_residues_become_their_parents(tmp_path, name, letter, record) -> None:
    structure = read(
        tmp_path, residue("GLY", 1), residue(name, 2, record=record), residue("GLY", 3)
    )
    assert structure.chains[0].sequence == f"G{letter}G"
    assert structure.counts == {"modified": 1}


def test_unknown_residue_counts_only_in_the_chain(tmp_path) -> None:
    bound, free = residue("ZZ9", 2, record="HETATM"), residue("ZZ9", 40, record="HETATM")
    structure = read(tmp_path, residue("GLY", 1), bound, residue("GLY", 3), free)
    assert structure.chains[0].sequence == "GXG"
    assert structure.counts["ligands"] == 1


def test_free_amino_acid_is_a_ligand(tmp_path) -> None:
    structure = read(tmp_path, residue("GLY", 1), residue("GLU", 90, record="HETATM"))
    assert structure.chains[0].sequence == "G" and structure.counts["ligands"] == 1


def test_waters_ligands_nucleotides_and_calcium_are_left_out(tmp_path) -> None:
    structure = read(
        tmp_path,
        residue("GLY", 1),
        atom("O", "HOH", 200, record="HETATM"),
        atom("CA", "CA", 201, record="HETATM", element="CA"),
        atom("C1", "GOL", 202, record="HETATM"),
        atom("P", "DA", 5, chain="B"),
    )
    assert [chain.chain_id for chain in structure.chains] == ["A"]
    assert structure.counts == {"waters": 1, "ligands": 2, "nucleic": 1}
    assert any("1 waters" in note for note in structure.notes)


def test_missing_atoms(tmp_path) -> None:
    structure = read(
        tmp_path,
        residue("GLY", 1),
        residue("ALA", 2, "N CA C"),
        residue("SER", 3, "N CA O"),
        residue("THR", 4),
    )
    chain = structure.chains[0]
    assert chain.sequence == "GAT" and chain.residue_numbers.tolist() == [1, 2, 4]
    assert chain.built_o.tolist() == [False, True, False]
    assert chain.bonded.tolist() == [True, False, False]
    assert np.linalg.norm(chain.coords[1, 3] - chain.coords[1, 2]) == pytest.approx(
        1.229, abs=1e-3
    )
    assert structure.counts == {"dropped_residues": 1, "built_o": 1}


def test_rebuilt_oxygen_is_the_deposited_one(chain, tmp_path) -> None:
    path = tmp_path / "whole.pdb"
    write_pdb(path, chain)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line[12:16] != " O  "))
    again = read_structure(path).chains[0]
    assert again.built_o.all()
    assert np.abs(again.coords[:-1, 3] - chain.coords[:-1, 3]).max() < 3e-3


def test_carboxyl_end_of_force_fields(tmp_path) -> None:
    line = atom("O", "GLY", 1).replace(" O  ", " OT1")
    chain = read(tmp_path, residue("GLY", 1, "N CA C"), line).chains[0]
    assert not chain.built_o.any()


@pytest.mark.parametrize("word", ["     nan", "    -inf"])
def test_a_coordinate_that_is_no_number_is_named(tmp_path, word: str) -> None:
    bad = residue("ALA", 2).replace("   0.800", word)
    with pytest.raises(InputError, match="coordinates of 1 atom are not numbers .first CA of ALA"):
        read(tmp_path, residue("GLY", 1), bad)


def test_chains_and_blank_names(tmp_path) -> None:
    lines = residue("GLY", 1, chain="B"), residue("ALA", 1, chain=" ")
    structure = read(tmp_path, *lines)
    assert {chain.chain_id: chain.sequence for chain in structure.chains} == {"B": "G", "A": "A"}
    with pytest.raises(InputError, match="no protein chain 'Z'; it has B, A"):
        structure.chain("Z")


def test_models(tmp_path) -> None:
    lines = [f"MODEL     {m:4d}\n{residue('GLY', 1, shift=float(m))}ENDMDL\n" for m in range(1, 4)]
    for model in range(3):
        structure = read(tmp_path, *lines, model=model)
        assert structure.chains[0].ca[0, 1] == pytest.approx(0.8 + model + 1)
        assert structure.counts["models"] == 3
    with pytest.raises(InputError, match="no model 3; it has 3, numbered 0 to 2"):
        read(tmp_path, *lines, model=3)


def test_resolution(tmp_path) -> None:
    head = "HEADER    TEST\nREMARK   2\nREMARK   2 RESOLUTION.    1.90 ANGSTROMS.\n"
    assert read(tmp_path, head, residue("GLY", 1)).resolution == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (b"hello world\n", "neither PDB nor mmCIF"),
        (b"\x00\x01\x02ATOM", "is binary"),
        (b"data_x\n_cell.length_a 1\n", "mmCIF without _atom_site"),
        (b"HEADER    NOTHING\nEND\n", "holds no atoms"),
        (b"data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 2 3\n", "corrupt mmCIF"),
        (gzip.compress(b"HEADER" * 50, mtime=0)[:20], "not a gzip file"),
        (residue("ALA", 1).replace("5.000", "*****").encode(), "corrupt PDB"),
        ("".join(residue("ALA", i, "CA") for i in range(9)).encode(), "only CA atoms .9 res"),
        ("".join(atom("P", "DG", i) for i in range(4)).encode(), "nucleic acid only .4 nuc"),
        (atom("O", "HOH", 1, record="HETATM").encode(), "no amino-acid residue .1 waters"),
        (residue("ALA", 1, "N CA O").encode(), "none of its 1 residues"),
    ],
)
def test_useless_files_say_why_in_one_line(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.pdb"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_structure(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text and ";" in text


def test_absent_file_and_folder(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_structure(tmp_path / "none.pdb")
    with pytest.raises(InputError, match="is a folder"):
        read_structure(tmp_path)


def test_content_decides_not_the_suffix(chain, tmp_path) -> None:
    write_mmcif(tmp_path / "x.cif.gz", chain)
    (tmp_path / "x.cif.gz").rename(tmp_path / "x.pdb")
    assert read_structure(tmp_path / "x.pdb").chains[0].sequence == chain.sequence
