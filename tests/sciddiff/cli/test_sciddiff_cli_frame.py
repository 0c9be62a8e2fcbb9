"""Verbs are found, helped and failed alike, whoever wrote them."""

import errno
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from dataclasses import replace

import pytest

from sciddiff.cli.command import Command
from sciddiff.cli.failures import explain, fail
from sciddiff.cli.main import main
from sciddiff.cli.options import count, key_values
from sciddiff.cli.output import as_table, human_size, remark
from sciddiff.cli.parsing import parse
from sciddiff.cli.registry import (
    core_verbs,
    load_core,
    load_preparer,
    load_user,
    preparers,
    user_verbs,
)
from sciddiff.errors import InputError, MissingExtra

VERB = """\
from sciddiff.cli.command import Command

def configure(parser):
    parser.add_argument("how")

def run(args):
    if args.how == "input":
        from sciddiff.errors import InputError
        raise InputError("file.pdb: is empty; give another")
    if args.how == "bug":
        return {}["absent"]
    if args.how == "full":
        open("/dev/full", "w").write("x" * 10_000)
    if args.how == "package":
        import no_such_package_at_all
    if args.how == "sleep":
        import time
        print("ready", flush=True)
        time.sleep(60)
    if args.how == "many":
        for i in range(100_000):
            print(i)
    return 0

command = Command("greet", "say something", configure, run, example="sciddiff greet input")
"""
GROUP = "[sciddiff.commands]\n"


@pytest.fixture
def greeting(shell):
    shell.install("greeter", GROUP + "greet = greeter:command\n", VERB)
    return shell


def _imported(shell, *words):
    """Run a verb in a process of its own; what it printed, and the packages it imported."""
    code = (
        "import sys; from sciddiff.cli.main import main; status = main(sys.argv[1:])\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=shell.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


HEAVY = {"torch", "numpy", "scipy", "Bio", "torch_geometric", "xarray", "pytorch_lightning",
         "jsonargparse", "rich"}  # fmt: skip


def test_help_lists_every_verb_without_torch(greeting):
    text, imported = _imported(greeting, "--help")
    for name in (*core_verbs(), "greet"):
        assert f"  {name} " in text
    assert "say something" in text
    assert "greeter" in imported and not imported & HEAVY


@pytest.mark.parametrize("name", sorted(core_verbs()))
def test_help_of_a_verb_imports_nothing_heavy(shell, name):
    _, imported = _imported(shell, name, "--help")
    assert not imported & HEAVY


def test_domains_are_listed_without_importing_those_that_say_what_they_need(shell):
    text, imported = _imported(shell, "domains", "--json")
    found = {d["name"]: d["error"] for d in json.loads(text)["domains"]}
    if "backbone" not in found:
        pytest.skip("the package is not installed, so its entry points are not known")
    assert found["backbone"] is None and found["dock"] is None
    assert not imported & HEAVY
    _, imported = _imported(shell, "models")
    assert not imported & HEAVY


def test_a_strangers_domain_may_say_what_it_needs(shell, fails):
    entry = "[sciddiff.domains]\nrocks = rocks.domain:Rocks\n"
    shell.install("rocks", entry)
    metadata = shell.plugins / "rocks-1.0.dist-info" / "METADATA"
    with metadata.open("a") as file:
        file.write("Provides-Extra: hard\nRequires-Dist: no-such-granite>=2; extra == 'hard'\n")
    (shell.plugins / "rocks").mkdir()
    (shell.plugins / "rocks" / "__init__.py").write_text(
        "from sciddiff.extras import Needs\nNEEDS = Needs(('hard',), distribution='rocks')\n"
    )
    (shell.plugins / "rocks" / "domain.py").write_text("import torch\nimport no_such_granite\n")
    text, imported = _imported(shell, "domains", "--json")
    found = {d["name"]: d["error"] for d in json.loads(text)["domains"]}
    wanted = "no-such-granite is not installed; run: pip install 'rocks[hard]'"
    assert found["rocks"] == wanted and "torch" not in imported
    (shell.folder / "x").mkdir()
    fails(shell("evaluate", "x", "--domain", "rocks"), wanted)


def test_a_plug_in_that_ends_the_process_at_import_silences_nothing(shell, fails):
    shell.install("quitter", GROUP + "quit = quitter:command\n", "raise SystemExit(0)")
    shell.install("leaver", "[sciddiff.domains]\nleave = leaver:D\n", "raise SystemExit(0)")
    assert "(broken: SystemExit: 0)" in shell("--help").stdout
    found = json.loads(shell("domains", "--json").stdout)["domains"]
    assert "SystemExit" in next(d["error"] for d in found if d["name"] == "leave")
    fails(shell("quit"), "quitter:command cannot be loaded (SystemExit: 0)")


def test_a_verb_names_all_that_is_missing_before_it_begins(shell, fails, monkeypatch):
    verb = VERB.replace(
        "example=", "needs=__import__('sciddiff.extras').extras.Needs(('protein',)), example="
    )
    shell.install("needy", GROUP + "need = needy:command\n", verb)
    for module in ("Bio", "scipy", "tmtools"):
        monkeypatch.setitem(sys.modules, module, None)
    wanted = "biopython, scipy, tmtools are not installed; run: pip install 'sciddiff[protein]'"
    fails(shell("need", "well"), wanted)
    assert shell("need", "--help").returncode == 0
    (shell.folder / "x").mkdir()
    fails(shell("evaluate", "x", "--domain", "backbone"), wanted)
    assert wanted in shell("domains").stdout
    (shell.folder / "x.yaml").write_text(
        "domain: {class_path: protein.backbone.domain.BackboneDomain}\n"
    )
    fails(shell("train", "x.yaml"), wanted)
    fails(shell("sample", "--model", "lite", "-o", "y"), wanted)
    fails(shell("backbone", "-n", "1", "-o", "y"), wanted)
    assert not (shell.folder / "y").exists()


def test_help_of_train_names_every_key_of_an_experiment(capsys):
    from dataclasses import fields

    from sciddiff.config import Experiment

    main(["train", "--help"])
    text = capsys.readouterr().out
    for field in fields(Experiment):
        if field.name != "plain":
            assert f"\n  {field.name}" in text
    assert "  optim.lr = 0.001" in text


@pytest.mark.parametrize("name", sorted(core_verbs()))
def test_every_verb_has_help_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: sciddiff {name}" in text
    assert re.search(rf"examples?:\n  sciddiff {name}", text)


def _commands():
    """Every installed command, of the core, of packages, and of their preparers."""
    core = [(name, load_core(name)) for name in core_verbs()]
    users = [(name, load_user(name)) for name in user_verbs(load=False)]
    kinds = [(f"prepare {name}", load_preparer(name)) for name in preparers()]
    return core + users + kinds


def test_every_example_is_understood(capsys):
    """Examples of all verbs have options that exist, with values that they take."""
    seen = 0
    for name, command in _commands():
        command = replace(command, name=name)
        with pytest.raises(SystemExit):
            parse(command, ["--help"])
        for line in re.findall(r"^  sciddiff (.*)$", capsys.readouterr().out, flags=re.M):
            words = shlex.split(line, comments=True)
            count = len(name.split())
            if words[:count] != name.split() or "..." in line:
                continue
            try:
                parse(command, words[count:])
            except SystemExit:
                pytest.fail(f"sciddiff {line}: {capsys.readouterr().err}")
            seen += 1
    assert seen >= len(core_verbs())


@pytest.mark.parametrize("name", sorted(set(core_verbs()) - {"prepare"}))
def test_every_verb_speaks_json(name, capsys):
    main([name, "--help"])
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train", "sample", "likelihood"])
def test_verbs_that_compute_take_seed_and_device(name, capsys):
    main([name, "--help"])
    text = capsys.readouterr().out
    assert "--seed" in text and "--device" in text


def test_a_stranger_verb_runs_and_shows_its_example(greeting):
    assert greeting("greet", "well").returncode == 0
    assert "sciddiff greet input" in greeting("greet", "--help").stdout


@pytest.mark.parametrize(
    ("how", "part"),
    [
        ("input", "file.pdb: is empty; give another"),
        ("bug", "internal error, KeyError: 'absent'"),
        ("full", "no space left"),
        ("package", "no_such_package_at_all is missing"),
    ],
)
def test_failures_are_one_line(greeting, fails, how, part):
    fails(greeting("greet", how), part)


def test_the_traceback_is_there_for_those_who_ask(greeting, monkeypatch):
    monkeypatch.setenv("SCIDDIFF_DEBUG", "1")
    with pytest.raises(KeyError, match="absent"):
        greeting("greet", "bug")


LOUD = """\
import logging, warnings
from sciddiff.cli.command import Command

def run(args):
    warnings.warn("deep inside a library")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("weather.data").warning("two\\nlines of %s", "ours", exc_info=True)
    print("σ, Å and −")
    if args.how == "fail":
        from sciddiff.errors import InputError
        raise InputError("π.pdb: is empty; give another")

def configure(parser):
    parser.add_argument("how")

command = Command("loud", "say Å", configure, run)
"""


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_any_console_takes_any_text_and_no_warning_leaks(shell, encoding):
    shell.install("louder", GROUP + "loud = louder:command\n", LOUD)
    given = {**shell.environment(), "PYTHONIOENCODING": encoding}

    def run(*words, **more):
        return subprocess.run(
            [sys.executable, "-m", "sciddiff", *words], env=given | more, capture_output=True
        )

    done = run("loud", "well")
    assert done.returncode == 0
    assert done.stdout.decode(encoding).startswith({"utf-8": "σ, Å"}.get(encoding, "?, "))
    assert done.stderr.decode(encoding) == "note: two lines of ours\n"
    done = run("loud", "fail")
    lines = done.stderr.decode(encoding).splitlines()
    assert done.returncode == 2 and lines[0].startswith("note:") and len(lines) == 2
    assert "pdb: is empty; give another" in lines[1]
    assert run("--help").returncode == run("loud", "--help").returncode == 0
    said = run("loud", "well", SCIDDIFF_DEBUG="1").stderr
    assert b"deep inside a library" in said and b"ZeroDivisionError" in said


def test_ctrl_c_is_one_line(greeting):
    running = subprocess.Popen(
        [sys.executable, "-m", "sciddiff.cli.main", "greet", "sleep"],
        env=greeting.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job's children are born deaf to Ctrl-C; a user's terminal is not like that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout.readline() == "ready\n"
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 2
    assert stderr.startswith("sciddiff: error: interrupted") and stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_failure(greeting):
    running = subprocess.Popen(
        [sys.executable, "-m", "sciddiff.cli.main", "greet", "many"],
        env=greeting.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(timeout=30) == 0
    assert running.stderr.read() == b""


def test_an_unknown_verb_names_the_nearest(shell, fails):
    fails(shell("trian"), "trian: no such verb; did you mean train?")
    fails(shell("zzz"), "there are:", "sample")


def test_a_wrong_option_names_the_help(shell, fails):
    fails(shell("models", "--jsn"), "unrecognized arguments: --jsn", "sciddiff models --help")
    fails(shell("export", "somewhere"), "-o/--out", "sciddiff export --help")


def test_a_broken_verb_is_listed_and_disturbs_no_other(greeting, fails):
    greeting.install("wreck", GROUP + "crash = wreck:command\n", "raise OSError('lost\\nfile')")
    greeting.install("fake", GROUP + "notone = fake:command\n", "command = 3")
    listed = greeting("--help")
    assert listed.returncode == 0 and listed.stderr == ""
    assert "(broken: OSError: lost file)" in listed.stdout
    assert "(broken: TypeError: fake:command is not a sciddiff.cli.Command)" in listed.stdout
    assert "say something" in listed.stdout
    fails(greeting("crash"), "wreck:command cannot be loaded", "OSError: lost file")
    assert greeting("greet", "well").returncode == 0


def test_a_broken_domain_is_listed_with_its_error(shell, fails):
    shell.install("broken", "[sciddiff.domains]\nbroken = broken:Domain\n", "import nothing_here")
    done = shell("domains", "--json")
    assert done.returncode == 0, done.stderr
    found = {d["name"]: d for d in json.loads(done.stdout)["domains"]}
    assert "nothing_here" in found["broken"]["error"]
    (shell.folder / "x").mkdir()
    fails(shell("evaluate", "x", "--domain", "broken"), "nothing_here", "reinstall")


def test_prepare_hands_over_to_the_kind(shell, fails):
    module = VERB.replace('"greet"', '"backbone"')
    shell.install("stones", "[sciddiff.preparers]\nstones = stones:command\n", module)
    assert "stones" in shell("prepare").stdout
    assert "usage: sciddiff prepare stones" in shell("prepare", "stones", "--help").stdout
    fails(shell("prepare", "stones", "input"), "file.pdb: is empty")
    fails(shell("prepare", "stone"), "no such kind of data; did you mean stones?")


REPORTER = """
from sciddiff.cli.command import Reporter
reporter = Reporter(command, lambda path: path.suffix == ".stone")
"""


def test_report_hands_over_to_who_knows_the_source(shell, fails):
    module = VERB.replace('"how"', '"how"); parser.add_argument("--size"') + REPORTER
    shell.install("pebbles", "[sciddiff.reporters]\npebbles = pebbles:reporter\n", module)
    shell.install("torn", "[sciddiff.reporters]\ntorn = nothing_here:x\n")
    listed = shell("report").stdout
    assert "say something" in listed and "(broken: ModuleNotFoundError" in listed
    (shell.folder / "a.stone").touch()
    (shell.folder / "b.sand").touch()
    assert "--size" in shell("report", "a.stone", "--help").stdout
    assert shell("report", "--size", "3", "a.stone").returncode == 0
    fails(shell("report", "b.sand"), "b.sand: no page is known", "pebbles")
    fails(shell("report", "c.stone"), "c.stone: no such file or folder")


def test_version_knows_what_runs(shell):
    found = json.loads(shell("version", "--json").stdout)
    assert found["python"].startswith("3.") and found["torch"]
    assert shell("--version").stdout.startswith("package")


def test_models_that_ship_are_found_by_any_package(shell, fails):
    shell.install("heavy", "[sciddiff.pretrained]\nheavy = heavyweights\n")
    folder = shell.plugins / "heavyweights" / "tiny"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "meta.json").write_text('{"format": 99, "parameters": 1500000}')
    (folder / "README.md").write_text("# A tiny model\n\nWhat it is.\n")
    table = shell("models").stdout
    assert "tiny" in table and "1.50 M" in table and "A tiny model" in table
    assert shell("models", "tiny").stdout.endswith("What it is.\n")
    fails(shell("models", "tny"), "did you mean tiny?")
    fails(shell("models", "tiny", "--verify"), "format 99 is unknown")
    fails(shell("sample", "--model", "tny"), "did you mean tiny?")


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (InputError("a: b; c"), ["a: b; c"]),
        (MissingExtra("e3nn", "protein"), ["pip install 'sciddiff[protein]'"]),
        (PermissionError(errno.EACCES, "Permission denied", "out"), ["out: permission denied"]),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.yaml"), ["x.yaml: no such file"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["no space left", "same command"]),
        (OSError(errno.EROFS, "Read-only", "out"), ["read-only"]),
        (FileExistsError(errno.EEXIST, "File exists", "out"), ["out: is a file"]),
        (KeyboardInterrupt(), ["interrupted", "same command"]),
        (MemoryError(), ["out of memory"]),
        (ValueError("two\nlines"), ["internal error, ValueError: two lines", "SCIDDIFF_DEBUG"]),
    ],
)
def test_explanations_say_what_and_what_to_do(error, parts):
    line = explain(error)
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_words_become_values():
    read = key_values(["n=8", "length=60-128", "a=[1, 2]", "b=true", "c=x=y"], "--request")
    assert read == {"n": 8, "length": "60-128", "a": [1, 2], "b": True, "c": "x=y"}
    for wrong in (["n"], ["=3"], ["n=1", "n=2"], ["n=[1"]):
        with pytest.raises(InputError):
            key_values(wrong, "--request")


def test_nothing_that_is_printed_moves_the_cursor(capsys):
    remark("a\nb\x1b.pdb", ["two\nlines\x07"])
    assert fail("x\x1b[2J\ny") == 2
    said = capsys.readouterr().err
    assert said == "note: a\\nb\\x1b.pdb: two\nlines\\x07\nsciddiff: error: x\\x1b[2J y\n"


def test_whole_numbers_have_bounds():
    assert count()("1000000") == 10**6 and count(0, 2**64 - 1)(str(2**64 - 1)) == 2**64 - 1
    for text, said in (("0", "at least 1"), ("1e3", "at least 1"), ("1000001", "1,000,000")):
        with pytest.raises(ArgumentTypeError, match=said):
            count()(text)


def test_values_of_an_option_that_is_given_twice_are_all_kept():
    """``-l a -l b``, as in Vina, means both; the last alone would lose work in silence."""

    def configure(parser):
        group = parser.add_argument_group("of a group")
        group.add_argument("-l", nargs="+", default=["none"])
        parser.add_argument("--one", default="none")

    command = Command(name="x", help="", configure=configure, run=lambda args: 0)
    assert parse(command, ["-l", "a", "b", "--one", "1", "-l", "c", "--one", "2"]).l == list("abc")
    assert parse(command, ["-l", "a"]).l == ["a"] and parse(command, []).l == ["none"]
    assert parse(command, ["--one", "1", "--one", "2"]).one == "2"


def test_tables_and_sizes():
    assert as_table(("a", "b"), [("long", 1)]) == "a     b\nlong  1"
    assert as_table(("a", "b"), [("x\ny\x1b[31m", 1)]) == "a             b\nx\\ny\\x1b[31m  1"
    sizes = [human_size(n) for n in (999, 4_200_000, 3_000_000_000)]
    assert sizes == ["999 B", "4.2 MB", "3.0 GB"]
