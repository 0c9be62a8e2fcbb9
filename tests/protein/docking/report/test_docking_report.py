"""The page of docked ligands: what it holds, what it escapes, and that it works in a browser."""

import base64
import csv
import gzip
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("Bio")

from protein.docking.campaign.output import (
    BEST,
    RESULTS,
    Row,
    by_affinity,
    docked_row,
    failed_row,
    write_best,
    write_complex,
    write_results,
    write_sdf,
)
from protein.docking.molecules.atom_types import INDEX
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.pipeline.result import Result
from protein.docking.pipeline.settings import EFFORTS
from protein.docking.receptors.receptor import Receptor
from protein.docking.report import write
from protein.docking.report.collect import ranked, read_rows
from protein.docking.report.depict import depict
from protein.docking.report.write import CONTACTS, try_report, write_report
from protein.docking.search.monte_carlo import SearchSettings
from protein.docking.search.ranking import Docked
from protein.viewer import molstar
from sciddiff.cli.main import main
from sciddiff.errors import InputError

HOSTILE = '<img src=x onerror="alert(1)"> </script> \'"'
VOID = {"meta", "img", "input", "br", "rect", "path"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Page(HTMLParser):
    """Raises where an element is not closed in order; collects rows and links."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.links, self.ids = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [given[name] for name in ("src", "href") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "tr" and "data-key" in given:
            self.rows.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def packed(text, name):
    """What a page holds in an element, unpacked."""
    found = re.search(rf'id="{name}">([^<]*)<', text)
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def result(coords, affinity):
    """As the search gives it: poses and figures."""
    k = len(coords)
    energy = np.linspace(affinity, affinity + 2.0, k)
    zero = np.zeros(k)
    docked = Docked(coords, energy, energy, zero, np.zeros((k, 5)))
    return Result(docked, strain=np.full(k, 0.25), seconds=1.5)


@pytest.fixture
def chain(imprint) -> Receptor:
    """The mould as N, CA and C of alanines, so that a reader takes it as protein."""
    n = len(imprint)
    shifts = np.asarray([[0, -1.2, 0], [0, 0, 0], [0, 1.2, 0]])
    coords = (imprint.coords[:, None] + shifts).reshape(-1, 3)
    labels = tuple(f"A:{i + 1}" for i in range(n) for _ in range(3))
    types = np.asarray([INDEX[t] for t in ("N_D", "C_P", "C_P")] * n)
    names = ("N", "CA", "C") * n
    return Receptor(coords, types, ("N", "C", "C") * n, names, ("UNK",) * (3 * n), labels)


@pytest.fixture
def folder(tmp_path, drug, conformer, chain) -> Path:
    """What a run leaves: two docked ligands, two failed."""
    out = tmp_path / "poses of a run"
    (out / "poses").mkdir(parents=True)
    rows = [failed_row(0, "salt", "salt: is a salt or mixture of 2 parts")]
    for index, (name, affinity) in enumerate(((HOSTILE, -6.0), ("drug", -8.0)), 1):
        coords = conformer + np.asarray([0.0, 0.3, 0.9])[:, None, None]
        file = out / "poses" / f"one & {index}.sdf"
        found = result(coords, affinity)
        write_sdf(file, name, drug, found)
        write_complex(file.with_name(f"one & {index}_complex.pdb"), chain, drug, coords[0])
        where = file.relative_to(out).as_posix()
        rows.append(docked_row(index, name, drug, found, where))
    rows.append(failed_row(3, "bad", f"bad: {HOSTILE}"))
    write_results(out / RESULTS, [row.as_dict() for row in by_affinity(rows)])
    box = {"center": [12.0, -7.0, 4.0], "size": [22.0, 22.0, 22.0]}
    record = {"request": {"receptor": "gone.pdb", "box": box, "effort": "fast", "seed": 3},
              "command": f"sciddiff dock {HOSTILE}", "receptor": [HOSTILE]}  # fmt: skip
    (out / "run.json").write_text(json.dumps(record))
    return out


@pytest.fixture
def no_molstar(monkeypatch):
    monkeypatch.setattr(molstar, "PACKAGE", "a_package_that_is_not_installed")


def test_page_is_well_formed_holds_every_input_once_and_names_no_other(folder, imprint):
    path = write_report(folder, imprint)
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 4e6
    page = Page(text)
    # The better ligand first, the failed ones last, in the order of the input.
    assert [row["data-key"] for row in page.rows] == ["3", "2", "1", "4"]
    assert [row["data-status"] for row in page.rows] == ["ok", "ok", "failed", "failed"]
    assert len(page.ids) == len(set(page.ids))
    assert page.links == ["poses/one%20%26%202.sdf", "poses/one%20%26%201.sdf"]
    assert all((folder / "poses" / f"one & {i}.sdf").exists() for i in (1, 2))
    outside = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert "http" not in outside.replace("http-equiv", "") and "@import" not in outside
    assert "default-src 'none'" in outside and "<link" not in outside
    for words in ("is a salt or mixture", "12.0, -7.0, 4.0", "22.0 × 22.0 × 22.0", "2 / 4"):
        assert words in outside


def test_every_text_from_outside_is_escaped(folder, imprint):
    text = write_report(folder, imprint).read_text(encoding="utf-8")
    assert "<img src=x" not in text and text.count("</script>") == text.count("<script")
    assert html.escape(HOSTILE, quote=True) in text


def test_poses_and_contacts_come_back_as_they_were(folder, imprint, conformer, no_molstar):
    text = write_report(folder, imprint).read_text(encoding="utf-8")
    data = packed(text, "docked")
    first = data["ligands"][0]
    assert (first["name"], first["key"], len(first["poses"])) == ("drug", "3", 3)
    np.testing.assert_allclose(np.reshape(first["poses"][0], (-1, 3)), conformer, atol=6e-3)
    near = data["pockets"][first["pocket"]]
    place = np.reshape(near["xyz"], (-1, 3))
    assert any(first["contacts"])
    for pose, contacts in zip(first["poses"], first["contacts"], strict=True):
        for _, i, j, r in contacts:
            gap = np.linalg.norm(np.reshape(pose, (-1, 3))[i] - place[j])
            assert abs(gap - r) < 0.03
    rows = list(csv.DictReader((folder / CONTACTS).open(encoding="utf-8")))
    mine = [row for row in rows if row["name"] == "drug"]
    assert len(mine) == sum(len(c) for c in first["contacts"])
    assert {row["kind"] for row in mine} <= {"hydrogen bond", "hydrophobic", "salt bridge"}
    assert first["tags"][0]["affinity"] == "−8.00"


def test_same_folder_same_page_and_the_receptor_is_found_in_it(folder, chain, no_molstar):
    one = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == one
    data = packed(one.decode(), "docked")
    assert len(data["pockets"]) == 1  # out of a complex: the file that was docked to is gone
    found = np.reshape(data["pockets"][0]["xyz"], (-1, 3))
    gap = np.linalg.norm(found[:, None] - chain.coords, axis=-1).min(1)
    assert len(found) > 100 and gap.max() < 0.011


def test_without_complexes_and_receptor_poses_are_shown_alone(folder, no_molstar, caplog):
    for file in folder.glob("poses/*_complex.pdb"):
        file.unlink()
    data = packed(write_report(folder).read_text(encoding="utf-8"), "docked")
    assert data["pockets"] == [] and [one["pocket"] for one in data["ligands"]] == [None, None]
    assert "gone.pdb" in caplog.text
    assert (folder / CONTACTS).read_text().count("\n") == 1


def test_each_complex_of_a_set_has_its_own_pocket(folder, no_molstar):
    record = json.loads((folder / "run.json").read_text())
    del record["request"]["receptor"]
    (folder / "run.json").write_text(json.dumps(record))
    data = packed(write_report(folder).read_text(encoding="utf-8"), "docked")
    assert [one["pocket"] for one in data["ligands"]] == [0, 1]


def test_poses_beyond_the_limits_are_left_out_and_said(folder, imprint, no_molstar, monkeypatch):
    monkeypatch.setattr(write, "MOST_ROWS", 3)
    text = write_report(folder, imprint, most_shown=1).read_text(encoding="utf-8")
    assert len(packed(text, "docked")["ligands"]) == 1 and len(Page(text).rows) == 3
    assert "Poses of the first 1 of 2 ligands are in this page" in text
    assert "The first 3 of 4 rows" in text and "Install the package ipymolstar" in text


def test_a_run_where_nothing_was_docked_has_a_page(folder):
    write_results(folder / RESULTS, [failed_row(0, "a", "a: no").as_dict()])
    path = write_report(folder)
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.rows) == 1 and "viewer" not in page.ids and path.stat().st_size < 1e5
    write_results(folder / RESULTS, [])
    assert Page(write_report(folder).read_text(encoding="utf-8")).rows == []


def test_damaged_and_lost_poses_cost_only_themselves(folder, imprint, no_molstar):
    (folder / "poses" / "one & 1.sdf").write_text("nonsense\n")
    text = write_report(folder, imprint).read_text(encoding="utf-8")
    assert len(Page(text).rows) == 4 and len(packed(text, "docked")["ligands"]) == 1
    (folder / "poses" / "one & 2.sdf").unlink()
    assert len(Page(write_report(folder, imprint).read_text(encoding="utf-8")).rows) == 4


def test_what_is_no_folder_of_poses_is_refused(tmp_path, caplog):
    with pytest.raises(InputError, match="holds no results.csv"):
        write_report(tmp_path)
    (tmp_path / RESULTS).write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no columns index"):
        write_report(tmp_path)
    assert try_report(tmp_path) is None and "no report" in caplog.text


def test_ligands_are_ordered_by_affinity_and_not_by_confidence(tmp_path):
    """Water may be sure of its place and bind nobody: it must not top a screen."""
    water = Row(1, "water", "ok", confidence="0.89", affinity="-1.2", file="poses/w.sdf")
    drug = Row(2, "drug", "ok", confidence="0.35", affinity="-9.4", file="poses/d.sdf")
    bad = Row(3, "bad", "failed", "no")
    rows = by_affinity([bad, water, drug])
    assert [row.name for row in rows] == ["drug", "water", "bad"]
    (tmp_path / "poses").mkdir()
    for row in (water, drug):
        (tmp_path / row.file).write_text(f"{row.name}\n$$$$\n{row.name} 2\n$$$$\n")
    write_best(tmp_path, rows)
    assert (tmp_path / BEST).read_text() == "drug\n$$$$\nwater\n$$$$\n"
    write_results(tmp_path / RESULTS, [row.as_dict() for row in rows])
    shown = ranked(read_rows(tmp_path))
    assert [row["name"] for row in shown] == ["drug", "water", "bad"]


def test_rows_of_an_older_table_are_read(folder):
    rows = read_rows(folder)
    assert [row["index"] for row in rows] == ["3", "2", "1", "4"]
    text = (folder / RESULTS).read_text(encoding="utf-8").replace(",site", "", 1)
    (folder / RESULTS).write_text(text, encoding="utf-8")
    assert len(read_rows(folder)) == 4


@pytest.mark.parametrize("smiles", ["C[C@H](O)c1ccc([N+](=O)[O-])cc1", "C/C=C/Cl", "O", "[NH4+]"])
def test_drawings_are_small_and_well_formed(smiles):
    svg = depict(ligand_from_smiles(smiles).mol)
    Page(svg)
    assert svg.startswith('<svg class="mol"') and len(svg) < 3000
    assert "<path" in svg or "<text" in svg


def test_the_verb_writes_the_page_again(folder, capsys, fails_in_one_line):
    (folder / "report.html").unlink(missing_ok=True)
    assert main(["report", str(folder), "--shown", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["report"]).is_file() and Path(told["contacts"]).is_file()
    assert main(["report", "--title", HOSTILE, str(folder)]) == 0
    assert html.escape(HOSTILE) in (folder / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    fails_in_one_line(["report", str(folder / "nowhere")], "no such file")
    fails_in_one_line(["report", str(folder / "poses"), "--shown", "x"], "shown")
    assert main(["report"]) == 0
    assert "docked ligands" in capsys.readouterr().out


@pytest.fixture
def fails_in_one_line(capsys):
    """Check status 2 and one line on stderr."""
    from importlib.metadata import entry_points

    if "dock" not in {entry.name for entry in entry_points(group="sciddiff.reporters")}:
        pytest.skip("the package is not installed, so its entry points are not known")

    def check(words, part):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert part in said and said.count("\n") == 1, said

    return check


def test_a_run_that_goes_on_makes_its_page_again(tmp_path, chain, drug, conformer, monkeypatch,
                                                 no_molstar):  # fmt: skip
    monkeypatch.setitem(EFFORTS, "fast", SearchSettings(chains=8, rounds=1, final=5))
    write_complex(tmp_path / "receptor.pdb", chain, drug, conformer)
    (tmp_path / "lib.smi").write_text("Oc1ccccc1 phenol\nCCO.CCN salt\n")
    x, y, z = (f"{v:.2f}" for v in conformer.mean(0))
    words = ["dock", "-r", str(tmp_path / "receptor.pdb"), "-l", str(tmp_path / "lib.smi"),
             "--center", x, y, z, "-o", str(tmp_path / "o"), "--effort", "fast", "--poses", "2",
             "--json"]  # fmt: skip
    assert main(words) == 1
    report = tmp_path / "o" / "report.html"
    first = Page(report.read_text(encoding="utf-8")).rows
    # So short a search may end in a pose that PoseBusters refuses; the row then says ok.
    assert first[0]["data-status"] in ("valid", "ok") and first[1]["data-status"] == "failed"
    poses = packed(report.read_text(encoding="utf-8"), "docked")
    report.unlink()
    assert main(words) == 1
    assert packed(report.read_text(encoding="utf-8"), "docked") == poses
    # Whatever happens to the page, the run has ended well.
    monkeypatch.setattr(write, "write_report", lambda folder: 1 / 0)
    assert main(words) == 1


PROBE = """<script>
const blocked = [];
document.addEventListener('securitypolicyviolation', (e) => blocked.push(e.blockedURI));
const wait = (test) => new Promise((done) => {
  const poll = setInterval(() => { if (test()) { clearInterval(poll); done(); } }, 100);
});
const root = document.documentElement;
(async () => {
  await wait(() => root.dataset.ready !== undefined);
  const rows = () => [...document.querySelectorAll('#ligands tbody tr')];
  const keys = () => rows().map((r) => r.dataset.key);
  const ink = () => {
    const c = document.querySelector('#viewer canvas.flat');
    const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    return d.filter((x, i) => i % 4 === 3 && x > 0).length;
  };
  const first = root.dataset.shown;
  const ink1 = ink();
  const listed = document.querySelectorAll('#contacts li').length;
  rows().find((r) => r.dataset.key === '2').click();
  await wait(() => root.dataset.shown === '2/1');
  document.querySelectorAll('#poses button')[2].click();
  await wait(() => root.dataset.shown === '2/3');
  const third = document.querySelector('#facts dd').textContent;
  rows().find((r) => r.dataset.key === '4').click();
  await wait(() => document.querySelector('.wait').textContent.includes('not docked'));
  document.querySelectorAll('#ligands thead button')[3].click();
  const up = keys();
  document.querySelectorAll('#ligands thead button')[3].click();
  const down = keys();
  const input = document.getElementById('filter');
  input.value = 'SALT';
  input.dispatchEvent(new Event('input'));
  const visible = rows().filter((r) => !r.hidden).map((r) => r.dataset.key);
  input.value = '';
  const status = document.getElementById('status');
  status.value = 'ok';
  status.dispatchEvent(new Event('change'));
  const good = rows().filter((r) => !r.hidden).length;
  root.dataset.result = JSON.stringify({ first, ink1, listed, third, up, down, visible, good,
    blocked, ready: root.dataset.ready, viewer: root.dataset.viewer,
    injected: document.querySelectorAll('img').length,
    loaded: performance.getEntriesByType('resource').map((r) => r.name)
      .filter((n) => !n.startsWith('data:') && !n.startsWith('blob:')) });
})();
</script>"""


@pytest.mark.browser
@pytest.mark.slow
def test_page_works_in_a_browser(folder, imprint, tmp_path):
    browser = next((shutil.which(name) for name in BROWSERS if shutil.which(name)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: install it (package chromium) to run this test")
    path = write_report(folder, imprint)
    probed = tmp_path / "probed.html"
    text = path.read_text(encoding="utf-8").replace("</head><body>", f"{PROBE}</head><body>", 1)
    probed.write_text(text, encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,1000", "--virtual-time-budget=30000", "--dump-dom",
        probed.as_uri() + "#viewer=simple",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found, f"the page did not finish: {done.stderr[-600:]}"
    seen = json.loads(html.unescape(found[1]))
    assert seen["ready"] == "yes" and seen["viewer"] == "simple" and seen["first"] == "3/1"
    assert seen["ink1"] > 1000 and seen["listed"] > 0 and seen["third"] == "3 of 3"
    assert seen["up"][:2] == ["3", "2"] and seen["down"][:2] == ["2", "3"]
    assert seen["visible"] == ["1"] and seen["good"] == 2
    assert seen["injected"] == 0 and seen["blocked"] == [] and seen["loaded"] == []
