"""Files that appear whole or not at all, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import zipfile

import pytest

from sciddiff.errors import InputError
from sciddiff.files import open_arrays, replacing


def test_an_array_that_claims_more_than_the_memory_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999999,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n")
    with pytest.raises(InputError, match="a.npz: holds an array larger than"):  # noqa: SIM117
        with open_arrays(path) as arrays:
            arrays["a"]


KILLED = """
import os, signal, sys
from sciddiff.files import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"half, and longer than what comes later")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_is_whole_or_the_one_before(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as file:
        file.write(b"one")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"other")
        raise KeyError
    assert path.read_bytes() == b"one" and os.listdir(path.parent) == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    with pytest.raises(InputError, match="cannot be written"), replacing(path / "b") as file:
        pass


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and locks of files")
def test_what_a_killed_process_left_is_taken_over(tmp_path):
    path = tmp_path / "a.txt"
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
        assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".a.txt.partial"]
    with replacing(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="needs locks of files")
def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["a.txt"]

    def write(word: bytes) -> None:
        for _ in range(100):
            with replacing(path) as file:
                file.write(word * 1000)

    writers = [threading.Thread(target=write, args=(word,)) for word in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in {word * 1000 for word in (b"a", b"b", b"c")}
    assert os.listdir(tmp_path) == ["a.txt"]
