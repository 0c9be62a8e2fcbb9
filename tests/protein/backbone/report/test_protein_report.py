"""The report: what it holds, what it escapes, and that it works in a browser without network."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from protein.backbone.metrics import evaluate_designs
from protein.backbone.report import save_gallery, write_report
from protein.backbone.report.cartoon import cartoon_faces
from protein.backbone.report.gallery import face_colours
from protein.backbone.report.write import ranked
from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions
from protein.viewer import molstar
from protein.viewer.molstar import as_classic_script, molstar_assets
from sciddiff.errors import InputError
from sciddiff.report.page import pack

HOSTILE = '<img src=x onerror="alert(1)"> $x_1$ </script>'
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def fold(seed: int, length: int) -> np.ndarray:
    """Helices joined by turns."""
    rng = np.random.default_rng(seed)
    torsions = np.tile([-60.0, -45.0, 180.0], (length, 1))
    for start in range(12, length - 4, 16):
        torsions[start : start + 3, :2] = rng.uniform(-150, 150, size=(3, 2))
    return backbone_from_torsions(np.radians(torsions))


@pytest.fixture(scope="module")
def designs() -> dict[str, np.ndarray]:
    lengths = {"first": 70, "second": 62, HOSTILE: 66}
    return {name: fold(seed, n) for seed, (name, n) in enumerate(lengths.items())}


@pytest.fixture(scope="module")
def report(designs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    evaluation = evaluate_designs(list(designs.items()))
    study = [{"steps": n, "intact": 1 - 1 / n, "strand": 0.2} for n in (5, 10, 20)]
    info = {"command": ["sciddiff", HOSTILE], "seed": 3, "steps_study": study}
    return write_report(folder, evaluation, designs, info)


def outside_data(text: str) -> str:
    """The page without the packed data and its own scripts."""
    return re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)


def test_report_is_one_small_file_that_names_no_other(report):
    text = report.read_text(encoding="utf-8")
    assert report.stat().st_size < 8e6
    page = outside_data(text)
    assert "default-src 'none'" in page
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "<link" not in page and "@import" not in page
    picture = report.with_name("designs.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_every_text_from_outside_is_escaped(report):
    page = outside_data(report.read_text(encoding="utf-8"))
    assert "<img src=x" not in page
    assert html.escape(HOSTILE, quote=True) in page


def test_identifiers_of_the_drawings_are_unique(report):
    page = outside_data(report.read_text(encoding="utf-8"))
    found = re.findall(r'\bid="([^"]+)"', page)
    assert len(found) == len(set(found))
    used = set(re.findall(r"(?:url\(#|xlink:href=\"#)([^)\"]+)", page))
    assert used <= set(found)


def test_the_same_designs_give_the_same_page(report, designs, tmp_path):
    evaluation = evaluate_designs(list(designs.items()))
    study = [{"steps": n, "intact": 1 - 1 / n, "strand": 0.2} for n in (5, 10, 20)]
    info = {"command": ["sciddiff", HOSTILE], "seed": 3, "steps_study": study}
    again = write_report(tmp_path, evaluation, designs, info)
    assert again.read_bytes() == report.read_bytes()


def test_structures_beyond_the_limit_are_left_out_and_said(designs, tmp_path, monkeypatch):
    monkeypatch.setattr("protein.backbone.report.write.MOST_STRUCTURES", 2)
    monkeypatch.setattr(molstar, "PACKAGE", "a_package_that_is_not_installed")
    chains = {name: (Backbone.from_coords(x),) for name, x in designs.items()}
    path = write_report(tmp_path, evaluate_designs(list(designs.items())), chains)
    text = path.read_text(encoding="utf-8")
    assert "The first 2 of 3 structures are in this page" in text
    assert "Install the package ipymolstar" in text
    assert path.stat().st_size < 2e6


def test_structures_of_other_names_are_refused(designs, tmp_path):
    with pytest.raises(InputError, match="none has the name"):
        write_report(tmp_path, evaluate_designs(list(designs.items())), {"x": fold(0, 60)})
    assert list(tmp_path.iterdir()) == []


def test_designs_without_flags_come_first():
    rows = [
        {"name": "b", "flags": "", "rama_favoured": 0.9},
        {"name": "a", "flags": "CA clash; bond angle", "rama_favoured": 1.0},
        {"name": "c", "flags": "", "rama_favoured": 0.95},
        {"name": "d", "flags": "CA clash", "rama_favoured": 0.5},
    ]
    assert [row["name"] for row in ranked(rows)] == ["c", "b", "d", "a"]


def test_ribbon_shows_the_molecule_not_its_mirror_image():
    coords, states = fold(1, 40), np.ones(40, dtype=np.int64)
    faces = cartoon_faces(coords, states)
    assert np.isfinite(faces.corners).all()
    assert (np.diff(faces.depth) >= 0).all()
    colours = face_colours(faces)
    assert (colours >= 0).all() and (colours <= 1).all()
    # Turned the same way, an object and its mirror image must look different.
    mirrored = cartoon_faces(coords * [1, 1, -1], states)
    assert not np.allclose(np.sort(faces.shade), np.sort(mirrored.shade), atol=1e-3)


def test_chains_of_a_complex_are_not_joined(tmp_path):
    pair = np.concatenate((fold(0, 30), fold(1, 30) + 60.0))
    states = np.zeros(60, dtype=np.int64)
    joined = cartoon_faces(pair, states)
    apart = cartoon_faces(pair, states, [30, 30])
    size = np.ptp(apart.corners, axis=1).max()
    assert size < 5.0 < np.ptp(joined.corners, axis=1).max()
    path = save_gallery(tmp_path / "pair.png", [("pair", pair, states)])
    assert path.read_bytes().startswith(b"\x89PNG")


def test_module_of_unknown_form_is_refused():
    module = "var a={};var L=a.b;function r(e){L.Viewer.create(e)}var w={};export{w as default};"
    script = as_classic_script(module)
    assert script is not None and "export" not in script
    assert script.rstrip().endswith("window.molstarLibrary = L;\n})();")
    assert as_classic_script("export{w as default};") is None
    assert as_classic_script("L.Viewer.create(e)") is None


def test_packing_is_reproducible():
    assert pack("text") == pack("text")


PROBE = """<script>
const blocked = [];
document.addEventListener('securitypolicyviolation', (e) => blocked.push(e.blockedURI));
const poll = setInterval(() => {
  const root = document.documentElement;
  if (root.dataset.ready === undefined) return;
  clearInterval(poll);
  const column = () => [...document.querySelectorAll('#designs tbody tr')]
    .map((r) => Number(r.cells[1].textContent));
  const heading = document.querySelectorAll('#designs thead button')[1];
  heading.click(); const up = column();
  heading.click(); const down = column();
  const canvas = document.querySelector('#viewer canvas');
  let ink = null;
  if (canvas.className === 'trace') {
    const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    ink = d.filter((x, i) => i % 4 === 3 && x > 0).length;
  }
  document.getElementById('filter').value = 'second';
  document.getElementById('filter').dispatchEvent(new Event('input'));
  root.dataset.result = JSON.stringify({
    up, down, ink, blocked, ready: root.dataset.ready, viewer: root.dataset.viewer,
    shown: root.dataset.shown, canvas: [canvas.width, canvas.height],
    visible: [...document.querySelectorAll('#designs tbody tr')].filter((r) => !r.hidden).length,
    injected: document.querySelectorAll('img[src="x"]').length,
    loaded: performance.getEntriesByType('resource').map((r) => r.name)
      .filter((n) => !n.startsWith('data:') && !n.startsWith('blob:')),
  });
}, 100);
</script>"""


def browse(path, fragment: str = "") -> tuple[dict, np.ndarray]:
    """Open a page in headless Chromium, without network; what the probe saw, and a picture."""
    browser = next((shutil.which(name) for name in BROWSERS if shutil.which(name)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine: install it (package chromium) to run this test")
    probed = path.with_name("probed.html")
    text = path.read_text(encoding="utf-8").replace("</head><body>", f"{PROBE}</head><body>", 1)
    probed.write_text(text, encoding="utf-8")
    picture = path.with_name("page.png")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={path.parent / 'profile'}", "--hide-scrollbars",
        "--window-size=1200,1000", "--virtual-time-budget=60000", f"--screenshot={picture}",
        "--dump-dom", probed.as_uri() + fragment,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found, f"the page did not finish: {done.stderr[-600:]}"
    from matplotlib.image import imread

    return json.loads(html.unescape(found.group(1))), imread(picture)


def check_page(seen: dict, designs: dict) -> None:
    """What must hold whichever viewer runs."""
    assert seen["ready"] == "yes" and seen["shown"] in designs
    assert seen["up"] == [62, 66, 70] and seen["down"] == [70, 66, 62]
    assert seen["visible"] == 1
    assert seen["injected"] == 0
    assert seen["blocked"] == [] and seen["loaded"] == []
    assert min(seen["canvas"]) > 100


@pytest.mark.browser
@pytest.mark.slow
def test_page_works_in_a_browser_with_the_large_viewer(report, designs):
    if molstar_assets() is None:
        pytest.skip("ipymolstar is not installed")
    seen, picture = browse(report)
    check_page(seen, designs)
    assert seen["viewer"] == "molstar"
    # The ribbon itself: reddish pixels of its helices in the left part of the page.
    red, green, blue = (picture[250:800, 60:760, k] for k in range(3))
    assert ((red > 0.35) & (red > 1.4 * green) & (red > 1.4 * blue)).sum() > 500


@pytest.mark.browser
@pytest.mark.slow
def test_page_works_in_a_browser_with_the_simple_viewer(report, designs):
    seen, _ = browse(report, "#viewer=simple")
    check_page(seen, designs)
    assert seen["viewer"] == "simple" and seen["ink"] > 1000
