"""Chains as the text of an mmCIF file."""

import os
from collections.abc import Iterable, Iterator, Sequence

from protein.structures.chain import Backbone, OtherAtom
from protein.structures.residues import ONE_TO_THREE, is_nucleotide
from protein.structures.written_atoms import BFactors, WrittenAtom, written_atoms


def mmcif_lines(
    models: Sequence[list[Backbone]],
    b_factors: BFactors,
    beta_carbon: bool,
    title: str,
    name: str,
    path: str | os.PathLike[str],
    others: Sequence[OtherAtom] = (),
) -> Iterator[str]:
    """Text of an mmCIF file of one or several models.

    Args:
        models: the chains of each model, which differ in coordinates alone.
        b_factors: a number for each residue, the same in every model.
        beta_carbon: add an idealised CB.
        title: text of ``_struct.title``.
        name: name of the data block.
        path: the file, for messages.
        others: atoms of ligands and the like, the same in every model.
    """
    chains = models[0]
    entities, of_chain = _entities(chains)
    asym = [_asym_id(number) for number in range(len(chains))]
    kinds = list(dict.fromkeys(atom.residue for atom in others))
    of_kind = {kind: number for number, kind in enumerate(kinds, len(entities) + 1)}
    groups = list(dict.fromkeys(_group(atom) for atom in others))
    of_group = {group: _asym_id(number) for number, group in enumerate(groups, len(chains))}
    quoted = _quote(" ".join(title.split()) or name)
    yield f"data_{name}\n#\n_entry.id {_quote(name)}\n_struct.entry_id {_quote(name)}\n"
    yield f"_struct.title {quoted}\n#\n"
    rows = [
        (number, "polymer", "man", f"'designed chain {number}'") for number in entities.values()
    ]
    rows += [(number, "non-polymer", "syn", _quote(kind)) for kind, number in of_kind.items()]
    yield _loop("entity", ("id", "type", "src_method", "pdbx_description"), rows)
    yield _loop(
        "entity_poly",
        ("entity_id", "type", "nstd_linkage", "pdbx_seq_one_letter_code", "pdbx_strand_id"),
        [
            (
                number,
                "polypeptide(L)",
                "no",
                _quote(sequence.upper().replace("X", "(UNK)")),
                ",".join(c.chain_id for c, e in zip(chains, of_chain, strict=True) if e == number),
            )
            for sequence, number in entities.items()
        ],
    )
    yield _loop(
        "entity_poly_seq",
        ("entity_id", "num", "mon_id", "hetero"),
        [
            (number, place, ONE_TO_THREE.get(letter.upper(), "UNK"), "n")
            for sequence, number in entities.items()
            for place, letter in enumerate(sequence, start=1)
        ],
    )
    placed = [*zip(asym, of_chain, strict=True)]
    placed += [(of_group[group], of_kind[group[3]]) for group in groups]
    yield _loop("struct_asym", ("id", "entity_id"), placed)
    fields = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
        "label_entity_id label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy "
        "B_iso_or_equiv auth_seq_id auth_comp_id auth_asym_id auth_atom_id pdbx_PDB_model_num"
    )
    rows = [
        _site_row(atom, chains[atom.chain], asym[atom.chain], of_chain[atom.chain], number)
        for number, model in enumerate(models, start=1)
        for atom in written_atoms(model, b_factors, beta_carbon, path)
    ]
    rows += [
        _other_row(atom, len(rows) + serial, of_group[_group(atom)], of_kind[atom.residue], number)
        for number in range(1, len(models) + 1)
        for serial, atom in enumerate(others, start=1)
    ]
    yield _loop("atom_site", fields.split(), rows)


def _site_row(
    atom: WrittenAtom, chain: Backbone, asym: str, entity: int, model: int
) -> tuple[object, ...]:
    x, y, z = (f"{value:.3f}" for value in atom.position)
    return (
        *("ATOM", atom.serial, atom.element, _quote(atom.name), ".", atom.residue, asym, entity),
        *(atom.index + 1, chain.insertion_codes[atom.index] or "?", x, y, z, "1.00"),
        *(f"{atom.b_factor:.2f}", chain.residue_numbers[atom.index], atom.residue),
        *(_quote(chain.chain_id), _quote(atom.name), model),
    )


def _group(atom: OtherAtom) -> tuple[str, int, str, str]:
    """What tells a ligand from another: chain, number, insertion code and name."""
    return atom.chain, atom.number, atom.code, atom.residue


def _other_row(
    atom: OtherAtom, serial: int, asym: str, entity: int, model: int
) -> tuple[object, ...]:
    x, y, z = (f"{value:.3f}" for value in atom.position)
    record = "ATOM" if is_nucleotide(atom.residue) else "HETATM"
    return (
        *(record, serial, atom.element or "X", _quote(atom.name), ".", _quote(atom.residue), asym),
        *(entity, ".", atom.code or "?", x, y, z, "1.00", "0.00", atom.number),
        *(_quote(atom.residue), _quote(atom.chain or asym), _quote(atom.name), model),
    )


def _entities(chains: list[Backbone]) -> tuple[dict[str, int], list[int]]:
    """Entity number by sequence, and of each chain: equal sequences are one entity."""
    entities: dict[str, int] = {}
    return entities, [entities.setdefault(c.sequence, len(entities) + 1) for c in chains]


def _asym_id(number: int) -> str:
    """A … Z, AA, BA, …: the wwPDB's own order of label_asym_id."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters += chr(ord("A") + rest)
    return letters


def _loop(category: str, fields: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"_{category}.{field}\n" for field in fields)
    body = "".join(" ".join(str(value) for value in row) + "\n" for row in rows)
    return f"loop_\n{head}{body}#\n"


def _quote(text: str) -> str:
    """A CIF value: quoted when it holds blanks or could be read as syntax."""
    reserved = text.lower().startswith(("data_", "loop_", "save_", "stop_", "global_"))
    if text and text not in ".?" and not reserved and text[0] not in "_#$'\"[];":
        if not any(c.isspace() for c in text):
            return text
    mark = '"' if "'" in text else "'"
    return f"{mark}{text.replace(mark, ' ')}{mark}"
