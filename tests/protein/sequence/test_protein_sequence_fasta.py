"""FASTA files as they come: other line ends, marks, archives, and signs that are no residues."""

import gzip
import os

import pytest

from protein.sequence.fasta import check_protein, fasta_records, read_fasta
from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError


def _written(folder, data):
    file = folder / "f.fa"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    "data",
    [
        b">a b\nMKT\nLV\n>b\nMK:LV\n",
        b">a b\r\nMKT\r\nLV\r\n>b\r\nMK/LV\r\n",
        b">a b\rMKT\rLV\r>b\rMK/LV\r",
        b"\xef\xbb\xbf>a b\nMKT LV\n\n>b\nMK::LV:\n",
        b">a b\nmktlv*\n>b\nMK*/LV*\n",
        gzip.compress(b">a b\nMKTLV\n>b\nMK/LV\n", mtime=0),
    ],
)
def test_every_dialect_holds_the_same_records(tmp_path, data):
    one, two = fasta_records(_written(tmp_path, data))
    assert (one.header, one.chains) == ("a b", ("MKTLV",))
    assert (two.header, two.chains) == ("b", ("MK", "LV"))
    assert read_fasta(tmp_path / "f.fa") == [("a b", "MKTLV"), ("b", "MKLV")]


def test_what_breaks_lines_elsewhere_is_part_of_a_header(tmp_path):
    data = ">a\x0bKLM\x1b[31m\u2028x\nMKT\n".encode()
    [found] = fasta_records(_written(tmp_path, data))
    assert (found.header, found.chains) == ("a KLM [31m x", ("MKT",))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b">a\nMK*TLV\n", r"record 1 \(a\) has a stop sign \(\*\) before its end"),
        (b">a\n*\n", r"record 1 \(a\) has no residues"),
        (b">\nMK\n>\nML\n", r"record 2 \(no name\) has the header of record 1"),
        (b"MK\n", "line 1 stands before the first header"),
        (b"\xff\xfe>\x00", "not a FASTA file"),
        (gzip.compress(b">a\nMKT\n", mtime=0)[:20], "not a gzip file"),
    ],
)
def test_what_cannot_be_read_names_the_file(tmp_path, data, said):
    with pytest.raises(InputError, match=rf"f\.fa: .*{said}|f\.fa: {said}"):
        list(fasta_records(_written(tmp_path, data)))


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "f.fa")
    for read in (read_fasta, lambda file: Inputs().add("--fasta", file)):
        with pytest.raises(InputError, match="is a pipe or a device"):
            read(tmp_path / "f.fa")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ACGT" * 5, "looks like DNA or RNA"),
        ("ACGUN" * 4, "looks like DNA or RNA"),
        ("ACGT" * 4, None),  # sixteen letters may be a peptide
        ("GA" * 20, None),  # as silk has them
        ("ACGT" * 5 + "L", None),
        ("MK-T", "holds '-', which is no amino acid"),
        ("MK1T", "holds '1', which is no amino acid"),
        ("MKXT", "holds 'X', which is no amino acid"),
    ],
)
def test_nucleotides_and_other_signs_are_told(tmp_path, text, said):
    [record] = fasta_records(_written(tmp_path, f">a\n{text}\n".encode()))
    if said is None:
        check_protein(record, "ACDEFGHIKLMNPQRSTVWY")
        return
    with pytest.raises(InputError, match=rf"record 1 \(a\) {said}"):
        check_protein(record, "ACDEFGHIKLMNPQRSTVWY")
