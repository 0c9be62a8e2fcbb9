"""Every mode of the generator gives on a device what it gives on the processor.

Shown on a logical CUDA device, which applies CUDA's rules about mixed devices, where there is no
real one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_pdb

BENCH = Path(__file__).resolve().parents[4] / "shared" / "bench"
ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import argparse, sys
from dataclasses import replace
from pathlib import Path
from logical_device import logical_cuda  # before torch
import numpy as np, torch
from protein.backbone.domain import backbone_path
from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.modes import mode_of
from protein.backbone.network import BackboneNetwork
from protein.backbone.polish import PolishSettings
from protein.backbone.rewards import TERMS
from sciddiff.denoiser import Denoiser

torch.set_num_threads(1)
FILE = Path(sys.argv[1])
NAMES = "scaffold unindexed motif partial vary noise symmetry target hotspots target_crop length"
MODES = {
    "new": {"length": "24-28", "fold": "alpha"},
    "scaffold": {"scaffold": "4-8,A10-20,4-8", "motif": FILE},
    "partial": {"partial": FILE, "noise": 0.5},
    "part": {"partial": FILE, "noise": 0.5, "vary": "A10-20"},
    "c3": {"symmetry": "C3", "length": "24"},
    "d2": {"symmetry": "D2", "length": "24"},
    "binder": {"target": FILE, "hotspots": "A12", "length": "24"},
    "unindexed": {"unindexed": "A12-14,A20", "motif": FILE, "length": "24-28"},
    "c2 scaffold": {"scaffold": "8,A10-20,8", "motif": FILE, "symmetry": "C2"},
    "steered": {"length": "24-28", "fold": "alpha"},
    "steered binder": {"target": FILE, "hotspots": "A12", "length": "24"},
}
plain = GenerateSettings(steps=3, polish=PolishSettings(steps=3))
reward = TERMS.reward("compact=5,strand=2,contacts,apart")
steered = replace(plain, steer="compact=5", particles=2, reward=reward)

def designs(device, options, settings):
    torch.manual_seed(0)
    net = BackboneNetwork(node=16, pair=8, blocks=1, heads=2)
    common = {"fold": "any", "number": 2, "seed": 1, "structure_model": 0}
    mode = mode_of(argparse.Namespace(**{**dict.fromkeys(NAMES.split()), **common, **options}))
    denoiser = mode.denoiser(Denoiser(net, backbone_path()).to(device).eval())
    made = []
    for item in mode.templates(range(2)):
        made += generate(denoiser, item.batch, settings, item.numbering, item.start, item.offset)
    return {design.index: mode.finish(design).coords for design in made}

for name, options in MODES.items():
    settings = steered if name.startswith("steered") else plain
    here = designs(torch.device("cpu"), options, settings)
    with logical_cuda() as log:
        there = designs(torch.device("cuda", 0), options, settings)
    worst = max(float(np.abs(here[i] - there[i]).max()) for i in here)
    assert sorted(here) == sorted(there) == [0, 1] and worst < 1e-3, (name, worst)
    assert sum(log.ops.values()) > 100, name
    print(name, worst, flush=True)
"""


def test_every_mode_gives_the_same_on_a_device(tmp_path: Path) -> None:
    if not (BENCH / "logical_device.py").is_file():
        pytest.skip(f"no logical device: {BENCH} has no logical_device.py")
    if shutil.which("g++") is None:
        pytest.skip("the logical device is compiled by g++, which is absent")
    helix = backbone_from_torsions(np.tile(np.radians([-62.0, -43.0, 180.0]), (30, 1)))
    helix = helix + np.array([30.0, 0.0, 0.0])  # away from the axes of an assembly
    write_pdb(tmp_path / "helix.pdb", Backbone(helix.astype(np.float32), "L" * 30))
    path = os.pathsep.join([str(ROOT), str(BENCH), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "helix.pdb")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == 11
