"""What every module looks like."""

import ast
import re

MOST_LINES = 400
NO_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py", "common.py"}
SPEAKING = ("sciddiff.cli", "protein.commands", "weather.commands")
DRAWS = {"randn", "rand", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"}
METHOD_DRAWS = {"normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_"}
# Third-party code draws from the global generator here; it is seeded inside `fork_rng`.
FORKED = {"protein.backbone.metrics.likelihood", "protein.sequence.design.mpnn"}
NUMPY_FINE = {"default_rng", "Generator", "SeedSequence", "Philox", "PCG64", "get_state"}


def _calls(module):
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def _report(wrong):
    assert not wrong, "\n".join(wrong)


def test_no_drawer_for_odds_and_ends(modules):
    _report([m.where for m in modules if m.path.name in NO_NAMES])


def test_modules_are_short(modules):
    lengths = {m.where: len(m.text.splitlines()) for m in modules}
    _report([f"{where}: {n} lines" for where, n in lengths.items() if n > MOST_LINES])


def test_every_module_says_what_it_is(modules):
    _report([m.where for m in modules if not ast.get_docstring(m.tree)])


def _inside_rng_initialiser(module):
    """Lines of methods that set initial parameters: they draw inside the fork of `build`."""
    lines = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "reset_parameters"):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def test_every_draw_names_its_generator(modules):
    wrong = []
    for m in modules:
        fine = _inside_rng_initialiser(m)
        for call in _calls(m):
            if not isinstance(call.func, ast.Attribute) or call.lineno in fine:
                continue
            owner, name = ast.unparse(call.func.value), call.func.attr
            given = any(k.arg in ("generator", None) for k in call.keywords)
            torch_draw = owner == "torch" and name.removesuffix("_like") in DRAWS
            # randn_like and its kin take no generator at all.
            in_place = name in METHOD_DRAWS and owner != "nn.init"
            if (torch_draw or in_place) and not given and m.name not in FORKED:
                wrong.append(f"{m.where}:{call.lineno} {owner}.{name} without a generator")
            if owner in ("np.random", "numpy.random") and name not in NUMPY_FINE:
                wrong.append(f"{m.where}:{call.lineno} {owner}.{name} is global")
            if owner == "random" and name not in ("Random", "SystemRandom"):
                wrong.append(f"{m.where}:{call.lineno} random.{name} is global")
    _report(wrong)


def test_only_commands_print(modules):
    _report(
        [
            f"{m.where}:{call.lineno} prints; use logging"
            for m in modules
            if not m.name.startswith(SPEAKING)
            for call in _calls(m)
            if isinstance(call.func, ast.Name) and call.func.id == "print"
        ]
    )


def _narrows(node):
    """`assert x is not None` tells the type checker what the code just made sure of."""
    return isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.IsNot)


def test_user_errors_are_not_asserts(modules):
    _report(
        [
            f"{m.where}:{node.lineno} asserts; raise InputError"
            for m in modules
            for node in ast.walk(m.tree)
            if isinstance(node, ast.Assert) and not _narrows(node)
        ]
    )


def test_no_bare_except(modules):
    _report(
        [
            f"{m.where}:{node.lineno}"
            for m in modules
            for node in ast.walk(m.tree)
            if isinstance(node, ast.ExceptHandler) and node.type is None
        ]
    )


MACHINE = re.compile(r"/work/|(?<![\w.])/tmp/|/home/|/root/|\.\./shared")


def test_no_path_of_one_machine(modules):
    _report([m.where for m in modules if MACHINE.search(m.text)])


def test_the_files_beside_the_packages_name_no_machine_either(repository):
    names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml", "Makefile"]
    files = [repository / name for name in names]
    shipped = [(f"{package}/pretrained", "*") for package in ("protein", "weather")]
    for folder, pattern in (("docs", "*.md"), ("configs", "*"), ("examples", "*"), *shipped):
        files += [path for path in (repository / folder).rglob(pattern) if path.is_file()]
    texts = (".md", ".toml", ".yaml", ".json", ".py", "")
    readable = (path for path in files if path.suffix in texts)
    _report([str(path) for path in readable if MACHINE.search(path.read_text(encoding="utf-8"))])


def _public_functions(module):
    """Public functions, classes and methods, each with what encloses it (a class or None)."""
    for node in module.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node, None
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                        yield inner, node


def _overload(node):
    return any(ast.unparse(d).endswith("overload") for d in node.decorator_list)


def _inherited(node, owner):
    """A method that implements an abstract one of its base may leave the text to the base."""
    return owner is not None and bool(owner.bases)


def test_public_names_have_docstrings(modules):
    _report(
        [
            f"{m.where}:{node.lineno} {node.name}"
            for m in modules
            for node, owner in _public_functions(m)
            if not ast.get_docstring(node) and not _inherited(node, owner) and not _overload(node)
        ]
    )


def test_public_functions_are_annotated(modules):
    wrong = []
    for m in modules:
        for node, owner in _public_functions(m):
            if not isinstance(node, ast.FunctionDef):
                continue
            static = any(ast.unparse(d) == "staticmethod" for d in node.decorator_list)
            a = node.args
            named = [*a.posonlyargs, *a.args][1 if owner is not None and not static else 0 :]
            named += [*a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            bare = [arg.arg for arg in named if arg.annotation is None]
            if bare or node.returns is None:
                wrong.append(f"{m.where}:{node.lineno} {node.name} {bare or 'returns'}")
    _report(wrong)


def test_settings_are_frozen(modules):
    """A dataclass named Settings cannot change after it was made."""
    wrong = []
    for m in modules:
        for node in ast.walk(m.tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
                decorators = [ast.unparse(d) for d in node.decorator_list]
                if not any("dataclass" in d and "frozen=True" in d for d in decorators):
                    wrong.append(f"{m.where}:{node.lineno} {node.name}")
    _report(wrong)


def test_every_typed_package_says_so(repository):
    for package in ("sciddiff", "protein", "weather"):
        assert (repository / package / "py.typed").exists()


def test_nothing_is_done_at_import(modules):
    """At module level: definitions, constants, imports; no loop, no `with`, no file is touched."""
    quiet = (ast.For, ast.While, ast.With)
    _report(
        [
            f"{m.where}:{node.lineno} does work at import"
            for m in modules
            for node in m.tree.body
            if isinstance(node, quiet)
        ]
    )
