"""The failure of a reader becomes one line; what has a name already keeps it."""

from __future__ import annotations

import doctest
import errno
import gzip
import os
import struct
import zlib

import pytest

from sciddiff import errors, files
from sciddiff.errors import InputError, MissingExtra, reading


def test_the_examples_in_the_module_are_right():
    assert doctest.testmod(errors, optionflags=doctest.ELLIPSIS) == (0, 3)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("NetCDF:\n HDF error"), "damaged, or not a map (NetCDF: HDF error); mend"),
        (zlib.error("Error -3"), "(Error -3)"),
        (struct.error("unpack requires"), "(unpack requires)"),
        (KeyError("lat"), "(no entry 'lat')"),
        (EOFError(), "(EOFError)"),
        (gzip.BadGzipFile("Not a gzipped file"), "damaged, or not a map (Not a gzipped file)"),
        (RecursionError("maximum"), "nested too deeply"),
        (ValueError("x" * 900), "xxx…); mend it"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "no such file or folder; check"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), "is a folder; give a file"),
        (PermissionError(errno.EACCES, "Denied"), "permission denied; change its rights"),
    ],
)
def test_whatever_a_reader_raises_names_the_file(error, text):
    with pytest.raises(InputError) as caught, reading("a.nc", "a map", "mend it"):
        raise error
    line = str(caught.value)
    assert line.startswith("a.nc: ") and text in line and "\n" not in line and len(line) < 260
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [InputError("b: no; remedy"), MissingExtra("zarr", "weather"), MemoryError(), SystemExit(3)],
)
def test_what_has_a_name_passes_as_it_is(error):
    with pytest.raises(type(error)) as caught, reading("a.nc"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("read", [files.read_bytes, files.read_text, files.regular])
def test_pipes_devices_and_folders_are_refused_at_once(read, tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path, text in (
        (pipe, "is a pipe or a device; write its content to a file first"),
        (os.devnull, "is a pipe or a device"),
        (tmp_path, "is a folder; give a file"),
        (tmp_path / "none", "no such file or folder; check the path"),
    ):
        with pytest.raises(InputError, match=f"^{path}: {text}"):
            read(path)
    with pytest.raises(InputError, match="pipe"):
        next(files.read_lines(pipe))


def test_gzip_is_unpacked_by_content_and_within_a_limit(tmp_path, monkeypatch):
    packed = tmp_path / "named_otherwise.txt"
    packed.write_bytes(gzip.compress("Å\n".encode() * 2**20, mtime=0))
    assert files.read_text(packed) == "Å\n" * 2**20
    assert sum(1 for _ in files.read_lines(packed)) == 2**20
    monkeypatch.setenv(files.LIMIT_VARIABLE, "2")
    with pytest.raises(InputError, match="more than 2 MB; .*SCIDDIFF_MAX_FILE_MB"):
        files.read_bytes(packed)
    monkeypatch.setenv(files.LIMIT_VARIABLE, "4")
    assert len(files.read_bytes(packed)) == 3 * 2**20
    for wrong in ("many", "-1", "nan", "inf", "0"):
        monkeypatch.setenv(files.LIMIT_VARIABLE, wrong)
        with pytest.raises(InputError, match="not a positive number"):
            files.read_bytes(packed)


def test_every_cut_and_every_wrong_byte_of_gzip_is_told(tmp_path):
    whole, file = gzip.compress(bytes(range(256)) * 4, mtime=0), tmp_path / "a.gz"
    for place in range(3, len(whole)):
        file.write_bytes(whole[:place])
        with pytest.raises(InputError, match="damaged, or not a gzip file"):
            files.read_bytes(file)
        with pytest.raises(InputError, match="damaged"):
            list(files.read_lines(file))


def test_cells_of_any_length_are_read_and_ragged_rows_are_not(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("name,smiles\r\nlong," + "C" * 200_000 + '\r\n\r\n"a\nb",C\r\n')
    rows = files.read_table(file)
    assert [len(row["smiles"]) for row in rows] == [200_000, 1] and rows[1]["name"] == "a\nb"
    file.write_text("name,smiles\na,C\nb\n")
    with pytest.raises(InputError, match="a.csv: row 3 has 1 cells where the header has 2"):
        files.read_table(file)
    file.write_text("name,bias,bias\na,1,2\n")
    with pytest.raises(InputError, match="a.csv: has two columns 'bias'; rename or remove one"):
        files.read_table(file)
    file.write_text("")
    assert files.read_table(file) == []
    file.write_bytes(b"\xff\xfe\0a")
    with pytest.raises(InputError, match="not a CSV table .*save it as text in UTF-8"):
        files.read_table(file)


def test_json_of_any_damage_is_told(tmp_path):
    file = tmp_path / "a.json"
    for text in ("", "{", "[" * 100_000, '{"a": 1} x', "\0"):
        file.write_text(text)
        with pytest.raises(InputError, match="^.*a.json: damaged, or not a JSON file"):
            files.read_json(file)
    file.write_text("\ufeff[1]", encoding="utf-8")
    assert files.read_json(file) == [1]
