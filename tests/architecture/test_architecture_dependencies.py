"""Who may import whom."""

import subprocess
import sys

import pytest

DOMAIN_LIBRARIES = {
    "e3nn", "torch_geometric", "Bio", "rdkit", "xarray", "netCDF4", "tmtools", "pydssp",
    "ipymolstar", "biotite", "gemmi", "cartopy", "zarr", "dask",
}  # fmt: skip

# The floors of the core: a module imports from floors below its own, or from its own room.
# Two rooms on one floor do not know each other. Imports for the type checker alone are free.
FLOORS = (
    ("extras", "settings", "names"),
    ("errors",),
    ("files", "ties"),
    ("trust",),
    ("state", "weights", "shipped", "calibration", "report", "philox", "rare_estimates"),
    ("leaf_times", "streams"),
    ("manifolds", "schedules"),
    ("noise", "times", "nn"),
    ("grids", "prediction"),
    ("paths",),
    ("denoiser", "path_record", "codecs"),
    ("guidance", "objectives"),
    ("samplers",),
    ("sampling", "likelihood", "rare_events", "analytic", "twisting"),
    ("steering",),
    ("drawing", "rewards"),
    ("testing", "domains"),
    ("encoded",),
    ("config",),
    ("training",),
    ("checkpoint",),
    ("distillation",),
    ("tuning",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# The same of docking: the way of a ligand, from files of molecules to tables and pages.
DOCKING_FLOORS = (
    ("molecules",),
    ("receptors",),
    ("poses",),
    ("energy",),
    ("search",),
    ("complexes",),
    ("diffusion",),
    ("confidence",),
    ("pipeline",),
    ("campaign", "scoring"),
    ("evaluation", "report"),
    ("domain",),
)
DOCKING_FLOOR = {room: number for number, rooms in enumerate(DOCKING_FLOORS) for room in rooms}


def _room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "sciddiff" and len(parts) > 1 else None


def _docking_room(name: str) -> str | None:
    parts = name.split(".")
    return parts[2] if parts[:2] == ["protein", "docking"] and len(parts) > 2 else None


def _targets(module):
    """Modules of the core that a module imports, with the line."""
    for line, target, name in module.imports():
        if target == "sciddiff" and name is not None:
            yield line, f"sciddiff.{name}"
        elif target.partition(".")[0] == "sciddiff":
            yield line, target


def test_the_core_knows_no_domain(modules):
    forbidden = {"protein", "weather", *DOMAIN_LIBRARIES}
    wrong = [
        f"{m.where}:{line} imports {target}"
        for m in modules
        if m.package == "sciddiff"
        for line, target, _ in m.imports()
        if target.partition(".")[0] in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def test_domains_do_not_know_each_other(modules):
    other = {"protein": "weather", "weather": "protein"}
    wrong = [
        f"{m.where}:{line} imports {target}"
        for m in modules
        for line, target, _ in m.imports()
        if target.partition(".")[0] == other.get(m.package)
    ]
    assert not wrong, "\n".join(wrong)


def test_domains_use_only_public_names_of_the_core(modules):
    wrong = []
    for m in modules:
        if m.package == "sciddiff":
            continue
        for line, target, name in m.imports():
            words = [*target.split("."), name or ""]
            private = any(w.startswith("_") and w != "__version__" for w in words)
            if words[0] == "sciddiff" and private:
                wrong.append(f"{m.where}:{line} takes {target}.{name}")
    assert not wrong, "\n".join(wrong)


def test_private_names_stay_in_their_package(modules):
    """Inside the core too: an underscore means the room, not the house."""
    wrong = [
        f"{m.where}:{line} takes {target}.{name}"
        for m in modules
        for line, target, name in m.imports()
        if name is not None
        and name.startswith("_")
        and not name.startswith("__")
        and target.partition(".")[0] in ("sciddiff", "protein", "weather")
        and target.split(".")[:2] != m.name.split(".")[:2]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_room_of_the_core_has_a_floor(modules):
    rooms = {_room(m.name) for m in modules if m.package == "sciddiff"} - {None}
    assert rooms <= FLOOR.keys(), f"give these a floor: {sorted(rooms - FLOOR.keys())}"


def _type_only(module):
    """Lines inside `if TYPE_CHECKING:`, where imports are for readers and checkers only."""
    import ast

    lines = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for inner in node.body:
                lines |= set(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    return lines


def test_modules_of_the_command_line_import_each_other_in_one_direction(modules):
    """No circle, not even through an import inside a function."""
    names = {m.name for m in modules if m.name.startswith("sciddiff.cli.")}
    below = {
        m.name: {
            target if name is None or f"{target}.{name}" not in names else f"{target}.{name}"
            for line, target, name in m.imports()
            if line not in _type_only(m)
        }
        & names
        for m in modules
        if m.name in names
    }
    while leaves := {name for name, targets in below.items() if not targets & below.keys()}:
        below = {name: targets for name, targets in below.items() if name not in leaves}
    assert not below, f"these form a circle: {sorted(below)}"


def test_nothing_in_the_core_points_back(modules):
    wrong = []
    for m in modules:
        room = _room(m.name)
        if room not in FLOOR:
            continue
        typed = _type_only(m)
        for line, target in _targets(m):
            other = _room(target)
            if other == room or other not in FLOOR or line in typed:
                continue
            if FLOOR[other] >= FLOOR[room]:
                wrong.append(f"{m.where}:{line} {room} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_docking_points_one_way_from_molecules_to_pages(modules):
    wrong = []
    for m in modules:
        room = _docking_room(m.name)
        if room is None:
            continue
        assert room in DOCKING_FLOOR, f"give {m.where} a floor"
        for line, target, _ in m.imports():
            other = _docking_room(target)
            if other in (None, room):
                continue
            if DOCKING_FLOOR[other] >= DOCKING_FLOOR[room]:
                wrong.append(f"{m.where}:{line} {room} imports {other}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        (
            "import sciddiff; sciddiff.sample; sciddiff.Denoiser; sciddiff.GaussianPath",
            ["pytorch_lightning", "jsonargparse", "rich", "scipy", "matplotlib", "yaml"],
        ),
        ("import sciddiff.checkpoint", ["pytorch_lightning", "jsonargparse", "matplotlib"]),
        ("import sciddiff.cli.main", ["torch", "numpy", "pytorch_lightning", "rich"]),
        ("import protein, weather", ["torch", "e3nn", "torch_geometric", "Bio", "xarray"]),
        ("import protein.backbone.domain", ["pytorch_lightning", "matplotlib", "tmtools"]),
    ],
)
def test_an_import_loads_nothing_heavier_than_it_must(statement, forbidden):
    forbidden = [*forbidden, *(DOMAIN_LIBRARIES if "protein.backbone" not in statement else [])]
    code = f"{statement}\nimport sys\nprint(sorted(set({forbidden!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_import_of_the_core_adds_no_module_outside_it_but_the_standard_library():
    """What `import sciddiff` costs beyond torch is its own modules: far below 0.3 s."""
    code = (
        "import sys, torch, numpy\n"
        "before = set(sys.modules)\n"
        "import sciddiff\n"
        "[getattr(sciddiff, name) for name in ('sample', 'Denoiser', 'GeodesicPath')]\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'torch', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['sciddiff']"
