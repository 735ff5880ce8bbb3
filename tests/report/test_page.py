"""The results page shows the correct numbers for any names of cases and organs."""

from __future__ import annotations

from html.parser import HTMLParser

from medups.evaluation import Evaluation
from medups.metrics import OrganScore
from medups.report.page import results_page

VOID = {"meta", "img"}


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


def test_page():
    scored = OrganScore("scored", 0.5, 2.25, 1.0, 1.0, surface_dice=0.75, assd=0.5)
    missed, absent = OrganScore("missed", 0.0, None, 0.0, 3.0), OrganScore("absent", None, None, 0.0, 0.0)
    cases = {"a<b>&1": {"left_kidney": scored, "liver": missed}, "2": {"left_kidney": scored, "liver": absent}}
    reader = Reader()
    reader.feed(results_page(Evaluation("physical", ["left_kidney", "liver"], cases), cases))
    reader.close()
    assert reader.open == []
    means, case_rows = reader.tables
    assert means == [
        ["organ", "Dice", "surface Dice", "HD95, mm", "ASSD, mm", "n", "missed", "hallucinated"],
        ["left kidney", "0.500", "0.750", "2.25", "0.50", "2", "0", "0"],
        ["liver", "0.000", "–", "–", "–", "1", "1", "0"],
        ["mean", "0.250", "0.750", "2.25", "0.50", "", "", ""],
    ]
    assert case_rows == [["case", "left kidney", "liver"], ["a<b>&1", "0.500", "missed"], ["2", "0.500", "absent"]]
    assert [style for style in reader.styles if style] == [f"background: hsl({hue} 60% 88%)" for hue in (60, 0, 60)]
    assert reader.pictures == ["overlays/a%3Cb%3E%261.png", "overlays/2.png"]
