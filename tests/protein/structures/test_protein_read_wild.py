"""Files as programs really write them: nothing is lost without a word."""

import gzip
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protein.structures.chain import Backbone
from protein.structures.parse import parse_file, read_atoms
from protein.structures.pdb_columns import decode_hybrid36, encode_hybrid36
from protein.structures.read import read_structure
from protein.structures.write import write_mmcif, write_pdb
from sciddiff.errors import InputError
from sciddiff.files import LIMIT_VARIABLE


def pdb(chain: Backbone, chain_id: str | None = None, shift: float = 0.0) -> list[str]:
    """ATOM and TER lines of a chain, under another name or moved along z."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.pdb"
        write_pdb(path, replace(chain, coords=chain.coords + np.float32([0, 0, shift])))
        lines = path.read_text().splitlines()
    if chain_id is not None:
        lines = [x[:21] + chain_id + x[22:] if x[:4] in ("ATOM", "TER ") else x for x in lines]
    return [line for line in lines if line != "END"]


def write(tmp_path: Path, lines: list[str], name: str = "file.pdb") -> Path:
    """A file of these lines."""
    path = tmp_path / name
    path.write_text("\n".join([*lines, "END"]) + "\n")
    return path


@pytest.mark.parametrize("name", ["A", " "])
@pytest.mark.parametrize("ter", [True, False])
def test_numbers_that_start_again_are_another_chain(chain, tmp_path, name, ter) -> None:
    lines = [*pdb(chain, name), *pdb(chain, name, 30.0), *pdb(chain, name, 60.0)]
    if not ter:
        lines = [line for line in lines if not line.startswith("TER")]
    structure = read_structure(write(tmp_path, lines))
    assert [len(c) for c in structure.chains] == [20, 20, 20]
    assert [c.chain_id for c in structure.chains] == ["A", "B", "C"]
    for number, one in enumerate(structure.chains):
        np.testing.assert_allclose(one.coords, chain.coords + [0, 0, 30 * number], atol=2e-3)
    assert any("start again: its parts are A, B, C" in note for note in structure.notes)
    assert structure.counts["split_chains"] == 1


def test_a_part_takes_no_name_that_is_taken(chain, tmp_path) -> None:
    lines = [*pdb(chain, "A"), *pdb(chain, "A", 30.0), *pdb(chain, "B", 60.0)]
    structure = read_structure(write(tmp_path, lines))
    assert [c.chain_id for c in structure.chains] == ["A", "C", "B"]


def test_parts_have_one_name_in_every_model(chain, tmp_path) -> None:
    one = [*pdb(chain, "A"), *pdb(chain, "A", 30.0)]
    lines = ["MODEL        1", *one, "ENDMDL", "MODEL        2", *one, "ENDMDL"]
    path = write(tmp_path, lines)
    for model in (0, 1):
        chains = read_structure(path, model).chains
        assert [(c.chain_id, len(c)) for c in chains] == [("A", 20), ("B", 20)]


def test_a_ligand_after_ter_stays_in_its_chain(chain, tmp_path) -> None:
    water = "HETATM  999  O   HOH A 101      50.000  50.000  50.000  1.00  0.00           O"
    structure = read_structure(write(tmp_path, [*pdb(chain, "A"), water]))
    assert [c.chain_id for c in structure.chains] == ["A"] and structure.notes == (
        "1 waters ignored",
    )


def test_lines_given_twice_are_read_once_and_counted(chain, tmp_path) -> None:
    lines = [line for line in pdb(chain) if line.startswith("ATOM")]
    structure = read_structure(write(tmp_path, lines + lines[:8]))
    assert [len(c) for c in structure.chains] == [20]
    assert structure.counts["doubled_atoms"] == 8


def test_atoms_of_a_group_that_share_a_name_are_all_kept(chain, tmp_path) -> None:
    group = [
        f"HETATM{i:5d}  C   LIG A 300    {i:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           C"
        for i in range(1, 6)
    ]
    parsed = parse_file(write(tmp_path, [*pdb(chain), *group]))
    (ligand,) = [r for r in parsed.structure.get_residues() if r.get_resname() == "LIG"]
    assert len(list(ligand)) == 5 and parsed.counts["renamed_atoms"] == 4


def test_left_justified_names_without_elements_are_no_metals(chain, tmp_path) -> None:
    lines = [
        f"{line[:12]}{line[12:16].strip():<4s}{line[16:66]}" if line.startswith("ATOM") else line
        for line in pdb(chain)
    ]
    calcium = "HETATM  999 CA   CA  A 101      50.000  50.000  50.000  1.00  0.00"
    chlorine = "HETATM 1000 CL1  LIG A 102      60.000  50.000  50.000  1.00  0.00"
    carbon = "HETATM 1001 CA1  LIG A 102      61.700  50.000  50.000  1.00  0.00"
    table, _ = read_atoms(write(tmp_path, [*lines, calcium, chlorine, carbon]))
    assert set(table.elements[:80]) == {"N", "C", "O"}
    assert table.elements[80:] == ["CA", "CL", "C"]
    assert table.counts["elements_inferred"] == 83
    assert any("83 atoms without an element" in note for note in table.notes)


def test_an_element_that_cannot_be_is_corrected(chain, tmp_path) -> None:
    lines = [x[:76] + "CA" if x[12:16] == " CA " else x for x in pdb(chain)]
    table, _ = read_atoms(write(tmp_path, lines))
    assert table.elements.count("CA") == 0 and table.counts["elements_corrected"] == 20


def test_hybrid36_and_five_digits(chain, tmp_path) -> None:
    numbers = [9998, 9999, 10000, 10001, 10255, 1223055, 1223056]
    assert [decode_hybrid36(encode_hybrid36(n, 4)) for n in numbers] == numbers
    lines = pdb(chain.select(slice(0, 3)))
    for old, new in ((1, "9999 "), (2, "A000 "), (3, "10001")):
        lines = [line.replace(f"A{old:4d} ", f"A{new}") for line in lines]
    structure = read_structure(write(tmp_path, lines))
    assert structure.chains[0].residue_numbers.tolist() == [9999, 10000, 10001]


def test_chains_of_two_letters_in_pdb_columns(chain, tmp_path) -> None:
    lines = [
        line[:20] + "AB" + line[22:] if line.startswith("ATOM") else line for line in pdb(chain)
    ]
    histidine = [line.replace("HIS A", "HISDA") for line in pdb(chain)]
    assert read_structure(write(tmp_path, lines)).chains[0].chain_id == "AB"
    four = read_structure(write(tmp_path, histidine)).chains
    assert [(c.chain_id, c.sequence) for c in four] == [("A", chain.sequence)]


def cif(
    tmp_path: Path, chain: Backbone, *without: str, swap: dict[str, str] | None = None
) -> Path:
    """A complete mmCIF of a chain, some columns of its atoms left out or with another value."""
    path = tmp_path / "whole.cif"
    write_mmcif(path, chain)
    head, _, body = path.read_text().partition("loop_\n_atom_site.")
    lines = ("_atom_site." + body).splitlines()
    names = [line.removeprefix("_atom_site.") for line in lines if line.startswith("_atom_site.")]
    rows = [line.split() for line in lines if line.startswith("ATOM")]
    kept = [name for name in names if name not in without]
    place = {name: names.index(name) for name in names}
    text = "".join(f"_atom_site.{name}\n" for name in kept)
    for row in rows:
        text += " ".join(row[place[n]] for n in kept) + "\n"
    path = tmp_path / "less.cif"
    path.write_text(f"{head}loop_\n{text}#\n")
    return path


@pytest.mark.parametrize(
    "column",
    [
        "occupancy",
        "B_iso_or_equiv",
        "pdbx_PDB_ins_code",
        "label_alt_id",
        "pdbx_PDB_model_num",
        "group_PDB",
        "type_symbol",
        "id",
        "label_seq_id",
        "label_entity_id",
        "label_asym_id",
        "auth_comp_id",
        "auth_atom_id",
        "auth_asym_id",
    ],
)
def test_mmcif_without_a_column(chain, tmp_path, column: str) -> None:
    structure = read_structure(cif(tmp_path, chain, column))
    assert structure.chains[0].sequence == chain.sequence and len(structure.chains) == 1
    np.testing.assert_allclose(structure.chains[0].coords, chain.coords, atol=1e-3)
    table, _ = read_atoms(cif(tmp_path, chain, column))
    assert set(table.elements) == {"N", "C", "O"}


def test_mmcif_with_the_needed_columns_alone(chain, tmp_path) -> None:
    needed = "label_comp_id label_atom_id label_asym_id label_seq_id Cartn_x Cartn_y Cartn_z"
    path = cif(tmp_path, chain)
    names = [x.strip()[11:] for x in path.read_text().splitlines() if x.startswith("_atom_site.")]
    path = cif(tmp_path, chain, *(set(names) - set(needed.split())))
    assert read_structure(path).chains[0].sequence == chain.sequence
    with pytest.raises(InputError, match="_atom_site has no Cartn_y"):
        read_structure(cif(tmp_path, chain, "Cartn_y"))


def test_label_numbers_are_said_to_be_used(chain, tmp_path) -> None:
    odd = replace(chain, residue_numbers=chain.residue_numbers + 100)
    structure = read_structure(cif(tmp_path, odd, "auth_seq_id"))
    assert structure.chains[0].residue_numbers.tolist() == list(range(1, 21))
    assert "no auth_seq_id: residues are numbered as in label_seq_id" in structure.notes


def test_a_table_of_atoms_that_is_cut_off_is_damage(chain, tmp_path) -> None:
    path = cif(tmp_path, chain)
    path.write_text(path.read_text()[:-100].rsplit(" ", 2)[0])
    with pytest.raises(InputError, match="corrupt mmCIF"):
        read_structure(path)


@pytest.mark.parametrize("word", ["99999999999999999999", "1.5", "x"])
def test_a_residue_number_that_is_none_is_named(chain, tmp_path, word: str) -> None:
    path = cif(tmp_path, chain)
    text = path.read_text()
    assert " 2 CYS A" in text
    path.write_text(text.replace(" 2 CYS A", f" {word} CYS A"))
    with pytest.raises(InputError, match=f"corrupt mmCIF .'{word}' is not a residue number"):
        read_structure(path)


def test_what_a_label_is_when_it_is_no_residue(chain, tmp_path) -> None:
    ligand = "HETATM  999 FE   HEM A 301      50.000  50.000  50.000  1.00  0.00          FE"
    water = "HETATM  999  O   HOH B 401      50.000  50.000  50.000  1.00  0.00           O"
    structure = read_structure(write(tmp_path, [*pdb(chain), ligand, water]))
    assert structure.others == {"A301": "a ligand or ion (HEM)", "B401": "a water (HOH)"}
    with pytest.raises(InputError, match="no protein chain 'B' .chain B holds a water"):
        structure.chain("B")


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "bomb.pdb.gz"
    path.write_bytes(gzip.compress(b"REMARK\n" * 3_000_000))
    monkeypatch.setenv(LIMIT_VARIABLE, "2")
    with pytest.raises(InputError, match=f"more than 2 MB.*{LIMIT_VARIABLE}"):
        read_structure(path)
    monkeypatch.setenv(LIMIT_VARIABLE, "30")
    with pytest.raises(InputError, match="holds no atoms"):
        read_structure(path)


def test_a_pipe_does_not_block(tmp_path) -> None:
    path = tmp_path / "pipe.pdb"
    os.mkfifo(path)
    started = time.monotonic()
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_structure(path)
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize("cut", [11, 40, -1, -6])
def test_gzip_that_is_cut_or_changed(tmp_path, chain, cut: int) -> None:
    path = tmp_path / "x.pdb.gz"
    write_pdb(path, chain)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="damaged, or not a gzip file"):
        read_structure(path)
    write_pdb(path, chain)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # of the checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged, or not a gzip file"):
        read_structure(path)
