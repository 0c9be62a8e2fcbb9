"""Distances do not feel where the origin is."""

import torch

from protein.structures.distances import distances


def test_distances_far_from_the_origin_are_exact():
    torch.manual_seed(0)
    a, b = 8 * torch.randn(2, 60, 3), 8 * torch.randn(2, 70, 3)
    there = torch.tensor([600.0, -700.0, 500.0])
    truth = (a.double()[:, :, None] - b.double()[:, None]).norm(dim=-1)
    assert (distances(a, b) - truth).abs().max() < 1e-5
    # Single precision holds a coordinate of 700 Å to 6e-5 Å; products lose 0.1 Å and more.
    assert (distances(a + there, b + there) - truth).abs().max() < 5e-4
    assert (torch.cdist(a + there, b + there) - truth).abs().max() > 0.05


def test_exact_distances_are_written_once(repository):
    """What is written out beside it may forget the mode, and be wrong far from the origin."""
    files = [*(repository / "protein").rglob("*.py"), *(repository / "sciddiff").rglob("*.py")]
    written = [file.name for file in files if "donot_use_mm" in file.read_text(encoding="utf-8")]
    assert written == ["distances.py"]


def test_ligands_of_a_benchmark_have_numbers_of_their_own(repository):
    """With one number all ligands would share their random numbers, unlike those of `dock`."""
    benchmarks = sorted((repository / "benchmarks").glob("docking_*.py"))
    shared = [file.name for file in benchmarks if "dock([ligand], [0])" in file.read_text()]
    assert len(benchmarks) > 5 and not shared
