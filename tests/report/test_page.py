"""The page of an evaluation shows the correct numbers, for any names, and its viewer the correct voxels."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from medups.evaluation import Evaluation
from medups.metrics import OrganScore
from medups.report.page import results_page, viewed
from medups.report.page.charts import distribution_svg

VOID = {"meta", "img", "input"}


class Reader(HTMLParser):
    """Collects the cells of each table; checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tables, self.styles, self.pictures = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.styles.append(dict(attributes).get("style"))
        if tag == "img":
            self.pictures.append(dict(attributes)["src"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


SCORED = OrganScore("scored", 0.5, 2.25, 1.0, 1.0, surface_dice=0.75, assd=0.5)
MISSED, ABSENT = OrganScore("missed", 0.0, None, 0.0, 3.0), OrganScore("absent", None, None, 0.0, 0.0)
CASES = {"2": {"left_kidney": SCORED, "liver": ABSENT}, "a<b>&1": {"left_kidney": SCORED, "liver": MISSED}}
EVALUATION = Evaluation("physical", ["left_kidney", "liver"], CASES)


def test_page():
    reader = Reader()
    reader.feed(results_page(EVALUATION, CASES))
    reader.close()
    assert reader.open == []
    means, case_rows = reader.tables
    assert means == [
        ["organ", "Dice", "surface Dice", "HD95, mm", "ASSD, mm", "n", "missed", "hallucinated"],
        ["left kidney", "0.500", "0.750", "2.25", "0.50", "2", "0", "0"],
        ["liver", "0.000", "–", "–", "–", "1", "1", "0"],
        ["mean", "0.250", "0.750", "2.25", "0.50", "", "", ""],
    ]
    assert case_rows == [
        ["case", "left kidney", "liver", "mean"],
        ["a<b>&1", "0.500", "missed", "0.250"],
        ["2", "0.500", "absent", "0.500"],
    ]
    shades = [style for style in reader.styles if style]
    assert shades == [f"--dice: {dice:.3f}" for dice in (0.5, 0, 0.25, 0.5, 0.5)]
    assert reader.pictures == ["overlays/2.png", "overlays/a%3Cb%3E%261.png"]


def test_distribution_by_hand():
    """Two dots a quarter and half along the axis, and the median between them."""
    svg = distribution_svg({"liver": [("a", 0.25), ("b", 0.5)], "spleen": []}, "Dice", 1.0)
    assert re.findall(r'<circle cx="([0-9.]+)"', svg) == ["265.0", "410.0"]
    assert re.findall(r'<line x1="([0-9.]+)" x2="[0-9.]+" y1="[0-9.]+" y2="[0-9.]+" class="median"', svg) == ["337.5"]
    assert "<title>b: 0.5</title>" in svg
    assert 'class="name">spleen<' in svg


def decoded(url, case):
    """The volume in a picture of all its slices."""
    picture = np.asarray(Image.open(io.BytesIO(b64decode(url.partition(",")[2]))))
    slices, height, width = case.shape
    return np.stack([
        picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row, column in (divmod(number, case.columns) for number in range(slices))
    ])  # fmt: skip


def test_volumes_for_the_viewer(rng):
    """A small volume is kept voxel by voxel; a large one is reduced to nearly cubic voxels of the same extent."""
    ids = rng.integers(0, 3, (5, 8, 7)).astype(np.uint8)
    image = rng.uniform(-300, 400, ids.shape).astype(np.float32)
    case = viewed("a", {"pred": ids, "label": ids[::-1]}, image, (3, 1, 1), (-125, 275), 1, {"other": ids[:, ::-1]})
    np.testing.assert_array_equal(decoded(case.pred, case), ids)
    np.testing.assert_array_equal(decoded(case.label, case), ids[::-1])
    np.testing.assert_array_equal(decoded(case.others["other"], case), ids[:, ::-1])
    one, far = np.zeros((2, 4, 6, 9), np.uint8)
    one[1, 2, 2], far[1, 2, 6], far[3, 5, 5] = 1, 1, 2
    apart = viewed("c", {"pred": far, "label": one}, None, (5, 2, 2), (0, 1), 1)
    distances = decoded(apart.distances, apart)
    assert distances[1, 2, 6] == 8 + 1
    assert distances[3, 5, 5] == 255
    assert np.count_nonzero(distances) == 2
    expected = np.clip((image + 125) / 400, 0, 1) * 255
    assert np.abs(decoded(case.image, case) - expected).mean() < 12  # JPEG
    large = viewed(
        "b", dict.fromkeys(("pred", "label"), np.zeros((120, 300, 300), np.uint8)), None, (2, 1, 1), (0, 1), 40
    )
    assert large.image is None
    assert 800_000 < np.prod(large.shape) <= 900_000
    np.testing.assert_allclose(np.multiply(large.shape, large.spacing_mm), (240, 300, 300))
    assert max(large.spacing_mm) / min(large.spacing_mm) < 1.2


ACTIONS = """
<script>
setTimeout(async () => {
  // decoding the pictures takes longer on a busy machine
  while (!document.querySelector("tr.chosen")) await new Promise((done) => setTimeout(done, 50));
  const column = (n) => [...document.querySelectorAll("table")[1].tBodies[0].rows].map((r) => r.cells[n].textContent);
  const said = { before: column(0) };
  document.querySelectorAll("table")[1].querySelectorAll("thead button")[3].click();
  document.querySelectorAll("table")[1].querySelectorAll("thead button")[3].click();
  said.sorted = column(0);
  said.chosen = document.querySelector("tr.chosen").cells[0].textContent;
  said.slices = [0, 1, 2].map((n) => Number(document.getElementById(`slider-${n}`).value));
  const [image, pred, label] = await load(view.index);
  said.label = [...label];
  document.querySelector("tbody th[data-case='2']").click();
  await new Promise((done) => setTimeout(done, 300));
  said.next = document.getElementById("case").value;
  const slider = document.getElementById("slider-0");
  slider.value = 2;
  slider.dispatchEvent(new Event("input"));
  document.getElementById("plane-0").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
  said.cursor = view.cursor[0];
  const drawn = () => document.getElementById("plane-0").toDataURL();
  await new Promise((done) => setTimeout(done, 300));
  const all = drawn();
  for (const id of ["show-label", "show-pred"]) document.getElementById(id).click();
  await new Promise((done) => setTimeout(done, 300));
  said.changed = drawn() !== all;
  const shown = [element("plane-0"), element("other-0")].map((canvas) => canvas.toDataURL());
  for (const id of ["show-label", "show-pred"]) element(id).click();
  await new Promise((done) => setTimeout(done, 300));
  said.beside = [element("beside").value, element("beside-planes").hidden, shown[0] === shown[1]];
  said.differ = element("plane-0").toDataURL() !== element("other-0").toDataURL();
  element("other-0").dispatchEvent(new WheelEvent("wheel", { deltaY: -1 }));
  said.linked = view.cursor[0];
  const solids = () => ["solid-label", "solid-pred"].map((id) => {
    const { width, height } = element(id), copy = Object.assign(document.createElement("canvas"), { width, height });
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(element(id), 0, 0);
    return [...context.getImageData(0, 0, width, height).data];
  });
  const colored = (pixels) => pixels.filter((_, index) => index % 4 === 3 && pixels[index]).length;
  const [before] = solids();
  said.solid = colored(before) / before.length * 4;
  element("solid-pred").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  said.turned = solids()[0].some((value, index) => value !== before[index]);
  document.body.dataset.said = JSON.stringify(said);
}, 800);
</script>
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_page_in_a_browser(tmp_path):
    """Worst case first and chosen; sorting, sliders, keys and toggles work; the voxels are those of the masks."""
    masks = {}
    for number, name in enumerate(CASES):
        ids = np.zeros((6, 9, 8), np.uint8)
        ids[2:4, 3:6, 1 + number : 5] = 1 + number
        masks[name] = ids
    cases = [
        viewed(name, {"pred": ids, "label": np.roll(ids, 1, 1)}, None, (2, 1, 1), (0, 1), 2, {"other": ids[..., ::-1]})
        for name, ids in masks.items()
    ]
    page = results_page(EVALUATION, CASES, cases)
    (tmp_path / "page.html").write_text(page.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--enable-logging=stderr",
            "--dump-dom", (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-said="([^"]*)"', done.stdout)
    assert found, done.stderr
    said = json.loads(found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert said["before"] == ["a<b>&1", "2"]
    assert said["sorted"] == ["2", "a<b>&1"]
    assert said["chosen"] == "a<b>&1"
    np.testing.assert_array_equal(np.reshape(said["label"], (6, 9, 8)), np.roll(masks["a<b>&1"], 1, 1))
    middle = np.argwhere((masks["a<b>&1"] > 0) | (np.roll(masks["a<b>&1"], 1, 1) > 0)).mean(0)
    np.testing.assert_allclose(said["slices"], middle, atol=0.51)
    assert said["next"] == "0"
    assert said["cursor"] == 3
    assert said["changed"]
    assert said["beside"] == ["other", False, True]  # without contours both rows show the same image
    assert said["differ"]
    assert said["linked"] == 2
    assert 0.05 < said["solid"] < 0.6  # of the 3-D picture is organ
    assert said["turned"]  # by a key in the other picture
