"""`tokencost claims report`: the same content as HTML, Markdown and PDF; figures; mistakes."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from verdicts import a_claim, a_verdict, every_kind
from vlm_tokencost.cli.claims_report.content import content, grouped, slug
from vlm_tokencost.cli.claims_report.html import as_html
from vlm_tokencost.cli.claims_report.markdown import as_markdown
from vlm_tokencost.cli.claims_report.words import CAPTIONS, TITLE
from vlm_tokencost.presets.auditing import VERDICTS

#: Elements without an end.
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page and keeps what a browser would make of it."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Keep an element that holds nothing."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Refuse an end of another element than the last that was opened."""
        assert self.open.pop() == tag, f"{tag} ends out of order"

    def handle_data(self, data):
        """Keep what a reader sees."""
        if "style" not in self.open:
            self.text.append(data)

    def of(self, tag):
        """Return the attributes of all elements with this name."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report():
    return content(every_kind())


@pytest.fixture(scope="module")
def page(report):
    return Page(as_html(report).decode())


def told(page):
    return " ".join(" ".join(page.text).split())


# --- content -------------------------------------------------------------------------------------


def test_sections_are_methods(report):
    assert [one.title for one in report.sections] == ["FastV", "Quick <& bold>", "VisionZip"]
    fastv = report.sections[0]
    assert [one.id for one in fastv.entries] == ["good", "fitted", "inside", "other", "silent"]
    assert [one.id for one in fastv.records] == ["score"]
    assert fastv.counts["reproduced"] == 1
    assert fastv.counts["not checkable"] == 1, "accuracy is not counted"


def test_numbers_of_the_summary(report):
    assert (report.judged, report.recorded) == (7, 1)
    assert {one.name: one.number for one in report.verdicts} == dict.fromkeys(VERDICTS, 1)
    rules = {one.name: one.number for one in report.rules}
    assert rules["bound"] == 3
    assert "quality" not in rules


def test_a_figure_that_is_recorded_twice_counts_once():
    found = content([a_verdict(a_claim("a")), a_verdict(a_claim("b", repeats="a"))])
    assert found.judged == 1
    assert [one.id for one in found.sections[0].entries] == ["a", "b"]
    assert found.sections[0].entries[1].remarks == ("The same figure as a; it counts once.",)


def test_methods_are_grouped_by_what_they_apply():
    found = grouped(
        [
            a_verdict(a_claim("a", method="FastV", applies="fastv")),
            a_verdict(a_claim("b", method="fastv", applies="", dense=True)),
            a_verdict(a_claim("c", method="FastV in a survey", applies="fastv", primary=False)),
            a_verdict(a_claim("d", method="FastV", applies="fastv")),
            a_verdict(a_claim("e", method="another", applies="")),
            a_verdict(a_claim("f", method="dense model in a table", applies="", dense=True)),
            a_verdict(a_claim("g", method="LLaVA-1.5", applies="", dense=True)),
        ]
    )
    ids = {title: [one.claim.id for one in group] for title, group in found.items()}
    assert ids == {"another": ["e"], "Dense models": ["f", "g"], "FastV": ["a", "b", "d", "c"]}


def test_addresses_are_words():
    assert slug("LLaVA-PruMerge+ (ours)") == "llava-prumerge-plus-ours"
    assert slug("ST³ / 2") == "st-2"


# --- HTML ----------------------------------------------------------------------------------------


def test_the_page_is_whole(page):
    assert page.open == [], "every element ends"
    assert page.of("html") == [{"lang": "en-GB"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for link in page.of("a"):
        assert link["href"].removeprefix("#") in names


def test_the_page_fetches_nothing(report):
    text = as_html(report).decode()
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\bon\w+=", text)
    assert set(re.findall(r"https?://[^\"' <]+", text)) == {"http://www.w3.org/2000/svg"}


def test_headings_and_tables_are_told_to_readers_who_do_not_see(page):
    assert page.headings[0] == "h1" and page.headings.count("h1") == 1
    assert not re.search("h1 h3", " ".join(page.headings))
    tables = page.of("table")
    assert len(page.of("caption")) == len(tables)
    assert {one.get("scope") for one in page.of("th")} == {"col", "row"}
    pictures = page.of("svg")
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["role"] == "img"
        for name in picture["aria-labelledby"].split():
            assert any(attributes.get("id") == name for _, attributes in page.elements)


def test_every_claim_is_in_the_page(page):
    shown = told(page)
    for one in every_kind():
        assert any(
            attributes.get("id") == f"claim-{one.claim.id}" for _, attributes in page.elements
        )
        assert one.verdict in shown
    for fragment in (
        "FastV",
        "Quick <& bold>",  # escaped in the page, plain to its reader
        "1.50 TFLOP",
        "1.504 TFLOP",
        "+0.27 %",  # 1.504 / 1.5 − 1
        "Assumed: 118 text tokens, plausible.",
        "Missing: a model preset for a model.",
        "Bounds: prefill of the LLM 5×; prefill with the encoder 3×.",
        "Note: As in the figure.",
        "61.9 points",
        "Source: table 1 (read in the source)",
    ):
        assert fragment in shown, fragment


def relative_luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_letters_contrast_with_their_ground():
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05) is at least 4.5, L being relative luminance."""
    from vlm_tokencost.cli.claims_report.picture import COLOURS, DARK, INK, PALE_INK, PAPER
    from vlm_tokencost.cli.claims_report.style import style_sheet

    pairs = [(PAPER if name in DARK else INK, colour) for name, colour in COLOURS.items()]
    pairs += [(INK, PAPER), (PALE_INK, PAPER)]
    letters = re.findall(r"[; {]color: (#[0-9a-f]{6})", style_sheet())
    assert len(letters) >= 4
    pairs += [(letter, "#f4f4f4") for letter in letters]
    for letter, ground in pairs:
        dark, light = sorted([relative_luminance(letter), relative_luminance(ground)])
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (letter, ground)


# --- Markdown ------------------------------------------------------------------------------------


def test_markdown_tables_are_whole(report):
    text = as_markdown(report).decode()
    assert text.startswith(f"# {TITLE}\n")
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("| "):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
            assert len(widths) == 1, block
    for fragment in (
        "### FastV",
        "### Quick &lt;&amp; bold>",
        "good: flops",
        "Recorded, not judged",
    ):
        assert fragment in text, fragment
    assert "| FastV | 1 | 1 | 1 |" in text


def test_published_sections_have_addresses_of_their_own():
    from vlm_tokencost.presets.claim import load_claims

    found = content([a_verdict(claim) for claim in load_claims().values()])
    slugs = [section.slug for section in found.sections]
    assert len(slugs) == len(set(slugs)) > 50
    ids = [one.id for section in found.sections for one in (*section.entries, *section.records)]
    assert sorted(ids) == sorted(load_claims())


# --- PDF -----------------------------------------------------------------------------------------


def read(data):
    pypdf = pytest.importorskip("pypdf")
    return pypdf.PdfReader(io.BytesIO(data))


def test_tables_go_on_with_their_headers():
    pytest.importorskip("reportlab")
    from vlm_tokencost.cli.claims_report.pdf import as_pdf

    many = [a_verdict(a_claim(f"claim-{place:03}"), reason="Why. " * 60) for place in range(40)]
    document = read(as_pdf(content(many)))
    pages = [" ".join(page.extract_text().split()) for page in document.pages]
    told = [page for page in pages if re.search(r"claim-\d{3}", page)]
    assert len(told) > 2
    for page in told:
        assert "printed recomputed bound verdict" in page
    for one in many:
        assert sum(one.claim.id in page for page in told) == 1


def test_a_claim_that_fits_no_page_is_told_in_full():
    pytest.importorskip("reportlab")
    from vlm_tokencost.cli.claims_report.pdf import as_pdf

    words = " ".join(f"word{place}" for place in range(4000))
    long = [a_verdict(a_claim("a")), a_verdict(a_claim("b"), reason=words), a_verdict(a_claim("c"))]
    document = read(as_pdf(content(long)))
    text = " ".join(" ".join(page.extract_text().split()) for page in document.pages)
    assert [f"word{place}" for place in range(4000) if f"word{place}" not in text] == []


def test_the_document_has_an_outline_and_every_sign():
    pytest.importorskip("reportlab")
    from vlm_tokencost.cli.claims_report.pdf import as_pdf

    odd = a_verdict(a_claim("odd", note="α → β, Σ n ≤ 2²"), reason="x" * 300)
    document = read(as_pdf(content([*every_kind(), odd])))
    assert document.metadata.title == TITLE

    def titles(outline):
        return [
            title
            for one in outline
            for title in (titles(one) if isinstance(one, list) else [one.title])
        ]

    found = titles(document.outline)
    for title in ("Verdicts", "Rules", *CAPTIONS, "FastV", "Quick <& bold>", "VisionZip"):
        assert title in found
    text = " ".join(" ".join(page.extract_text().split()) for page in document.pages)
    assert "alpha -> beta, sum n ≤ 2²" in text
    assert "9×" in text and "Quick <& bold>" in text


def test_published_claims_have_no_sign_that_the_document_cannot_print():
    pytest.importorskip("reportlab")
    from vlm_tokencost.cli.claims_report.pdf_face import Face
    from vlm_tokencost.presets.claim import load_claims

    face = Face()
    for claim in load_claims().values():
        for text in (claim.method, claim.setting, claim.conditions, claim.source, claim.note):
            assert face.clean(text).count("?") == text.count("?"), text


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["html", "md", "pdf"])
def test_reports_are_the_same_each_time(tokencost, tmp_path, ending):
    if ending == "pdf":
        pytest.importorskip("reportlab")
    paths = [tmp_path / f"{name}.{ending}" for name in ("one", "two")]
    for path in paths:
        answer = tokencost("claims", "report", "--method", "desap", "--output", path)
        assert (answer.status, answer.out, answer.err) == (0, "", f"wrote {path}\n")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size > 2000


def test_another_process_writes_the_same(tmp_path):
    """Sets and hashes have another order in each process."""
    written = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.html"
        command = [sys.executable, "-m", "vlm_tokencost.cli", "claims", "report"]
        command += ["--method", "desap", "--output", str(path)]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed}, capture_output=True)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_a_report_of_own_claims(tokencost, tmp_path):
    path = tmp_path / "mine.html"
    words = ("--file", "docs/examples/my-claims.toml", "--output", path)
    assert tokencost("claims", "report", *words).status == 0
    shown = told(Page(path.read_text(encoding="utf-8")))
    assert "5 claims and 0 figures that are recorded alone, of 1 method;" in shown
    assert "ours-flops" in shown


#: (words after `claims report`, fragments that the sentence must hold)
MISTAKES = {
    "no output": ((), ("--output is missing", ".html, .md, .pdf")),
    "another ending": (("--output", "report.docx"), ("--output report.docx", "end it in .html")),
    "no folder": (("--output", "no/where.html"), ("--output no/where.html", "does not exist")),
    "unknown method": (("--output", "{}/a.md", "--method", "fastw"), ("--method fastw",)),
    "no file": (("--output", "{}/a.md", "--file", "none.toml"), ("--file none.toml", "read")),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(tokencost, tmp_path, case):
    words, fragments = MISTAKES[case]
    answer = tokencost("claims", "report", *(word.format(tmp_path) for word in words))
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in answer.err, answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_document_without_reportlab(tokencost, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "reportlab", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = tokencost("claims", "report", "--output", tmp_path / "report.pdf")
    assert answer.status == 2
    assert "pip install 'vlm-tokencost[report]'" in answer.err
