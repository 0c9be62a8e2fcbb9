"""`sciddiff distill`: students of a stranger's model, resumed, told on their card, and drawn."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import sciddiff
from sciddiff.distillation.plan import _optim_of
from sciddiff.drawing import draw
from sciddiff.grids import uniform
from sciddiff.samplers import Ancestral
from sciddiff.weights import seal, sha256

PLUGIN = '''
import csv
import torch
from sciddiff import Batch, Domain, GaussianPath, InputError, ProductPath
from sciddiff.objectives import Denoising, LabelDropout


class Rings(Domain):
    """Points at the angle of their label, 0 to 3; label 4 means none."""

    name = "rings"

    def __init__(self, archive: str = "") -> None:
        self.archive = archive

    def path(self):
        return ProductPath({"x": GaussianPath(parametrization="velocity")})

    def train_batches(self, epoch, seed, rank, world):
        if not self.archive:
            raise InputError("archive: none is given; set domain.init_args.archive")
        return (self._draw(number, [seed, epoch]) for number in range(8)[rank::world])

    def _draw(self, number, seed):
        g = torch.Generator().manual_seed(1000 * seed[0] + 10 * seed[1] + number)
        label = torch.randint(0, 4, (128,), generator=g)
        angle = label * torch.pi / 2
        mean = torch.stack([angle.cos(), angle.sin()], -1)
        return Batch({"x": mean + 0.3 * torch.randn(128, 2, generator=g)}, {"label": label})

    def val_batches(self):
        return [self._draw(0, [9, 9])]

    def like(self, request):
        n, label = int(request.get("n", 1)), request.get("label")
        labels = torch.arange(n) % 4 if label is None else torch.full((n,), int(label))
        for first in range(0, n, 64):
            own = labels[first : first + 64]
            yield Batch(
                {"x": torch.zeros(len(own), 2)}, {"label": own},
                ids=tuple(f"p{first + i}" for i in range(len(own))),
            )

    def sound(self, batch, x):
        return x["x"].norm(dim=-1) < 2.0

    def write(self, batch, x, directory):
        path = directory / f"{batch.ids[0]}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(x["x"].tolist())
        return [path]

    def evaluate(self, directory, reference):
        return {}

    def null_labels(self):
        return {"label": 4}

    def objective(self):
        return Denoising(label_dropout={"label": LabelDropout(4, 0.2)})


class Net(torch.nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.label = torch.nn.Embedding(5, 8)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(13, width), torch.nn.SiLU(), torch.nn.Linear(width, width),
            torch.nn.SiLU(), torch.nn.Linear(width, 2),
        )

    def forward(self, x_t, t, batch, until=None):
        span = torch.zeros_like(t) if until is None else until - t
        time = torch.stack([t, torch.sin(3 * t), span], -1)
        seen = torch.cat([x_t["x"], time, self.label(batch.cond["label"])], -1)
        return {"x": self.layers(seen)}
'''

CONFIG = """
domain: {class_path: rings.Rings, init_args: {archive: here}}
net: {class_path: rings.Net}
optim: {lr: 0.005, warmup: 20, t_ref: 200}
trainer: {max_steps: 200, progress: false, accelerator: cpu}
out: run
"""


@pytest.fixture(scope="module")
def rings(new_shell):
    """A shell with a trained model `teacher`."""
    shell = new_shell("rings")
    points = "[sciddiff.domains]\nrings = rings:Rings\n"
    shell.install("rings", points, PLUGIN)
    (shell.folder / "rings.yaml").write_text(CONFIG)
    assert shell("train", "rings.yaml").returncode == 0
    assert shell("export", "run", "-o", "teacher").returncode == 0
    return shell


def _json(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _weights(folder):
    return load_file(folder / "model.safetensors")


def _load(shell, name):
    with pytest.MonkeyPatch.context() as patch:
        for path in reversed(shell.paths):
            patch.syspath_prepend(path)
        return sciddiff.load(shell.folder / name)


GUIDANCE = ("distill", "teacher", "--guidance", "--weight", "3", "--json")


def test_guidance_is_learned_continued_and_told(rings):
    out = rings.folder / "student"
    found = _json(rings(*GUIDANCE, "--steps", "30", "-o", "student"))
    assert found["step"] == found["steps_made"] == 30
    assert found["distilled"]["kind"] == "guidance" and found["distilled"]["weight"] == 3.0
    assert found["distilled"]["learned_from"] == "data of the domain"
    before = _weights(out)
    again = _json(rings(*GUIDANCE, "--steps", "30", "-o", "student"))
    assert again["steps_made"] == 0 and again["seconds"] == 0.0
    assert all(torch.equal(before[name], leaf) for name, leaf in _weights(out).items())
    more = _json(rings(*GUIDANCE, "--steps", "60", "-o", "student"))
    assert more["steps_made"] == 30
    # As a run that was not interrupted, to the bit.
    _json(rings(*GUIDANCE, "--steps", "60", "-o", "whole"))
    whole = _weights(rings.folder / "whole")
    assert all(torch.equal(whole[name], leaf) for name, leaf in _weights(out).items())
    card = (out / "README.md").read_text()
    assert "student of teacher" in card and "strength 3" in card and "7,680 samples" in card
    meta = json.loads((out / "meta.json").read_text())
    assert meta["drawing"] == {"steps": 50} and meta["init_from"]["weights"] == "teacher"


def test_the_student_says_in_one_call_what_the_guided_teacher_says(rings):
    _json(rings(*GUIDANCE, "--steps", "300", "--optim.lr", "0.003", "-o", "near"))
    teacher, student = (_load(rings, name) for name in ("teacher", "near"))
    batch = next(iter(teacher.domain.val_batches()))
    g = torch.Generator().manual_seed(0)
    t = torch.rand(128, generator=g)
    x_t = teacher.denoiser.path.sample(batch.x, t, g)["x"].x_t
    with torch.no_grad():
        guided = teacher.domain.guided(teacher.denoiser, 3.0)({"x": x_t}, t, batch)["x"].velocity
        plain = teacher.denoiser({"x": x_t}, t, batch)["x"].velocity
        said = student.denoiser({"x": x_t}, t, batch)["x"].velocity
    error, apart = float((said - guided).square().mean()), float((plain - guided).square().mean())
    print("student, teacher without guidance:", error, apart)
    assert error < 0.1 * apart


def test_another_request_in_the_same_folder_is_refused(rings):
    _json(rings(*GUIDANCE, "--steps", "5", "-o", "other"))
    other = rings("distill", "teacher", "--guidance", "--weight", "2", "-o", "other")
    assert other.returncode == 2 and "weight was 3.0 and is now 2.0" in other.stderr


def test_own_samples_where_there_is_no_archive(rings):
    """What is not sound is left out; what was drawn is not drawn again."""
    shutil.copytree(rings.folder / "teacher", rings.folder / "bare")
    config = rings.folder / "bare" / "config.yaml"
    config.write_text(config.read_text().replace("archive: here", "archive: ''"))
    meta = rings.folder / "bare" / "meta.json"
    told = json.loads(meta.read_text())
    told["sha256"]["config.yaml"] = sha256(config)
    meta.write_text(json.dumps(told))
    seal(rings.folder / "bare")
    done = rings("distill", "bare", "--guidance", "--steps", "5", "-o", "own")
    assert done.returncode == 0 and "trains on 512 samples of the teacher" in done.stderr
    parts = sorted((rings.folder / "own" / "own").iterdir())
    assert len(parts) == 8
    stamps = [part.stat().st_mtime_ns for part in parts]
    parts[3].unlink()
    more = rings("distill", "bare", "--guidance", "--steps", "10", "-o", "own")
    assert more.returncode == 0, more.stderr
    after = [part.stat().st_mtime_ns for part in parts]
    assert [a == b for a, b in zip(stamps, after, strict=True)].count(False) == 1
    card = (rings.folder / "own" / "README.md").read_text()
    assert "512 samples of the teacher" in card


@pytest.mark.parametrize("words", [["--optim.decay", "linear"], ["--optim.decay=cosine"]])
def test_a_rate_that_falls_ends_with_the_students_run(words):
    teacher = {"lr": 0.004, "t_ref": 200, "decay": "linear"}
    assert _optim_of(teacher, words) == {
        "lr": 0.001, "warmup": 50, "t_ref": 0, "decay": "inverse_sqrt"
    }  # fmt: skip
    assert _optim_of(teacher, ["--optim.lr", "1"])["t_ref"] == 1000


def test_reflow_learns_pairs_and_records_fewer_steps(rings):
    reflow = ("distill", "teacher", "--reflow", "--own", "128", "--request", "label=1")
    found = _json(rings(*reflow, "--calls", "4", "--steps", "20", "-o", "flow", "--json"))
    assert found["drawing"] == {"steps": 4}
    assert "noise/x" in load_file(rings.folder / "flow" / "own" / "00000.safetensors")
    drawn = _json(rings("sample", "--model", "flow", "-n", "8", "-o", "points", "--json"))
    assert drawn["samples"] == 8
    assert len(_load(rings, "flow").drawing.grid) == 5


@pytest.mark.parametrize("kind", ["shortcut", "progressive"])
def test_flow_maps_of_a_guided_teacher_are_drawn_by_jumps(rings, kind):
    words = ("distill", "teacher", f"--{kind}", "--weight", "2", "--calls", "2", "--json")
    found = _json(rings(*words, "--steps", "500", "--optim.lr", "0.003", "-o", kind))
    assert found["drawing"] == {"steps": 2, "flow_map": True}
    assert found["distilled"]["kind"] == kind and found["distilled"]["weight"] == 2.0
    teacher, student = (_load(rings, name) for name in ("teacher", kind))
    assert type(student.drawing.sampler).__name__ == "FlowMap" and len(student.drawing.grid) == 3
    # Two jumps without guidance against fifty guided steps, and against two, from the same noise.
    (like,) = teacher.domain.like({"n": 64})
    guided = teacher.domain.guided(teacher.denoiser, 2.0)
    fine, coarse = (
        sciddiff.sample(guided, like, Ancestral(0.0), uniform(n), 0).x["x"] for n in (50, 2)
    )
    drawn = draw(student.denoiser, like, student.drawing, 0)["x"]
    error, plain = (float((x - fine).square().mean()) for x in (drawn, coarse))
    print("two jumps, two steps:", error, plain)
    assert error < 0.3 * plain


def test_a_network_that_cannot_jump_is_refused(shell, fails):
    (shell.folder / "m.yaml").write_text(
        "domain: {class_path: mixture_domain.MixtureDomain}\n"
        "net: {class_path: mixture_domain.Net}\n"
        "trainer: {max_steps: 3, progress: false, accelerator: cpu}\nout: run\n"
    )
    assert shell("train", "m.yaml").returncode == 0
    assert shell("export", "run", "-o", "m", "--trust", "mixture_domain").returncode == 0
    done = shell("distill", "m", "--guidance", "-o", "s", "--trust", "mixture_domain")
    fails(done, "the domain mixture names no label")
    done = shell("distill", "m", "--shortcut", "-o", "s", "--trust", "mixture_domain")
    fails(done, "Net cannot predict up to a later time; give its `forward` an argument `until`")


@pytest.mark.parametrize(("words", "said"), [
    (("--guidance", "--weight", "1"), "--weight 1: is no guidance"),
    (("--guidance", "--net.init_args.width", "64"), "a student has the network of its teacher"),
    (("--reflow", "--weight", "2"), "--reflow learns no guidance"),
    (("--guidance", "--request", "label=1"), "give --own N with it"),
    (("--guidance", "--optim.lrr", "1"), "did you mean lr"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(rings, fails, words, said):
    fails(rings("distill", "teacher", *words, "-o", "wrong"), said)
    assert not (rings.folder / "wrong").exists()
