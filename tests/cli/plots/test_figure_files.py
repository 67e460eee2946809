"""Every kind of figure: files of every form, what each says, and mistakes told in one sentence."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "schemas" / "plot.schema.json").read_text()
)
MODEL = ("--model", "llava-1.5-7b")
PRUNED = (*MODEL, "--prune-layer", 2, "--keep", 0.5)
DEVICE = ("--device", "a100-80gb")
#: The smallest request of every kind.
KINDS = {
    "layers": PRUNED,
    "tokens": PRUNED,
    "ratio": (*MODEL, "--prune-layer", "0:4:2", "--keep", "0.25:1:0.25"),
    "memory": PRUNED,
    "roofline": (*PRUNED, *DEVICE),
    "latency": (*PRUNED, *DEVICE),
    "length": (*PRUNED, "--up-to", 4),
    "compare": (*MODEL, "--methods", "fastv,visionzip", "--budget", 192),
}
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
EVERY = pytest.mark.parametrize("kind", KINDS)


def texts(path: Path) -> str:
    """Return the text of an SVG; a line that is broken goes on after spaces."""
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
    return " ".join(" ".join(lines).split())


def test_every_kind_is_tried():
    from vlm_tokencost.cli.commands.plot import KINDS as TABLE

    assert set(TABLE) == {*KINDS, "pareto"}  # of published results, not of a request: test_pareto


@pytest.mark.parametrize(
    ("kind", "ending"), [*((kind, "svg") for kind in KINDS), ("tokens", "png"), ("ratio", "pdf")]
)
def test_a_figure_is_the_same_every_day(tokencost, tmp_path, kind, ending):
    path, again = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    result = tokencost("plot", kind, *KINDS[kind], "--output", path)
    assert (result.status, result.out) == (0, ""), result.err
    assert result.err == f"wrote {path}\n"
    assert path.read_bytes().startswith(MAGIC[ending])
    tokencost("plot", kind, *KINDS[kind], "--output", again)
    assert again.read_bytes() == path.read_bytes()


@EVERY
@pytest.mark.parametrize("style", ["screen", "paper"])
def test_a_figure_says_what_it_shows(tokencost, tmp_path, kind, style):
    path = tmp_path / "a.svg"
    result = tokencost("plot", kind, *KINDS[kind], "--style", style, "--output", path)
    assert result.status == 0, result.err
    said = texts(path)
    count = "4 images of 336×336: 2304" if kind == "length" else "336×336: 576"
    for part in ("llava-1.5-7b: ", f"{count} visual + 0 structural + 64 text tokens, batch 1"):
        assert part in said
    if KINDS[kind][2:4] == PRUNED[2:4]:
        assert "schedule: from layer 2 on keep 0.5: " in said
    units = {
        "layers": ("convention exact", "GFLOP per layer"),
        "tokens": ("tokens in the LLM",),
        "ratio": ("convention exact [FLOP]", "share of the dense cost [%], exact"),
        "memory": ("1 GiB = 2³⁰ bytes", "GiB above the weights", "MiB of KV cache"),
        "roofline": ("NVIDIA A100 80GB", "FLOP per second", "FLOP per byte moved", "2039 GB/s"),
        "latency": ("NVIDIA A100 80GB", "ms"),
        "length": ("convention exact [FLOP]", "share of the cost [%]"),
        "compare": ("convention exact [FLOP]", "TFLOP, exact"),
    }
    for part in units[kind]:
        assert part in said
    width = float(re.search(r'width="([0-9.]+)pt"', path.read_text())[1])
    assert width == pytest.approx(72 * {"screen": 6.9, "paper": 3.4}[style])


@EVERY
def test_the_numbers_fit_their_schema(tokencost, tmp_path, kind):
    figure, data, table = (tmp_path / name for name in ("a.svg", "a.json", "a.csv"))
    words = ("plot", kind, *KINDS[kind], "--output", figure, "--data")
    result = tokencost(*words, data)
    assert result.err == f"wrote {figure}\nwrote {data}\n"
    answer = json.loads(data.read_text())
    jsonschema.validate(answer, SCHEMA)
    assert (answer["figure"], answer["model"]) == (kind, "llava-1.5-7b")
    assert tokencost(*words, table).status == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert len(rows) == len(answer["rows"])
    for row, same in zip(rows, answer["rows"], strict=True):
        assert (row["model"], row["status"]) == ("llava-1.5-7b", "verified")
        assert {key: "" if one is None else str(one) for key, one in same.items()} == {
            key: row[key] for key in same
        }


@EVERY
def test_a_mistake_leaves_files_alone(tokencost, tmp_path, kind):
    figure, data = tmp_path / "a.png", tmp_path / "a.csv"
    figure.write_bytes(b"old")
    data.write_bytes(b"old")
    words = ("plot", kind, *KINDS[kind], "--images", 0, "--output", figure, "--data", data)
    result = tokencost(*words)
    assert (result.status, result.out) == (2, "")
    assert "--images" in result.err
    assert figure.read_bytes() == data.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.png"]


@EVERY
def test_a_figure_needs_matplotlib(tokencost, tmp_path, monkeypatch, kind):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "matplotlib" else real(name, *rest),
    )
    result = tokencost("plot", kind, *KINDS[kind], "--output", tmp_path / "x.png")
    assert result.status == 2
    assert result.err == (
        "error: matplotlib is not installed; install the extra with: "
        "pip install 'vlm-tokencost[plot]'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["tokens", "ratio"])
def test_the_user_s_own_settings_do_not_matter(tokencost, tmp_path, kind):
    import matplotlib as mpl

    plain, own = tmp_path / "a.svg", tmp_path / "b.svg"
    tokencost("plot", kind, *KINDS[kind], "--output", plain)
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        tokencost("plot", kind, *KINDS[kind], "--output", own)
        assert mpl.rcParams["font.size"] == 30, "and they are left as they were"
    assert plain.read_bytes() == own.read_bytes()


#: LLaVA-1.5-13B has 24.9 GiB of weights; at batch 20 its dense peak is above 40·10⁹ bytes.
FITTING = {
    ("rtx-4090", 1): "24 GB of 10⁹ bytes; does not fit",
    ("a100-40gb", 1): "40 GB of 10⁹ bytes; fits",
    ("a100-40gb", 20): "40 GB of 10⁹ bytes; dense does not fit, scheduled fits",
}


@pytest.mark.parametrize(("asked", "said"), FITTING.items(), ids=map(str, FITTING))
def test_memory_says_what_fits(tokencost, tmp_path, asked, said):
    path, (device, batch) = tmp_path / "a.svg", asked
    words = ("--model", "llava-1.5-13b", "--prune-layer", 2, "--keep", 0.5, "--batch", batch)
    words = ("plot", "memory", *words, "--attention", "eager", "--device", device)
    assert tokencost(*words, "--output", path).status == 0
    assert said in texts(path)
    drawn = "memory of the device" in texts(path)
    assert drawn == (batch == 20), "its line is drawn where it is near"


def test_text_stays_text_in_vector_files(tokencost, tmp_path):
    path = tmp_path / "a.pdf"
    tokencost("plot", "tokens", *PRUNED, "--output", path)
    content = path.read_bytes()
    assert b"/Type0" in content or b"/TrueType" in content, "fonts, no outlines of type 3"
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


@pytest.mark.parametrize(("style", "tall"), [("paper", True), ("screen", False)])
def test_a_figure_higher_than_a_page_is_told(tokencost, tmp_path, style, tall):
    path = tmp_path / "a.svg"
    words = ("plot", "compare", *MODEL, "--style", style, "--output", path)
    result = tokencost(*words)
    assert result.status == 0
    inches = float(re.search(r'height="([0-9.]+)pt"', path.read_text())[1]) / 72
    note = (
        f"note: {path} is {inches:.1f} inches high, more than the 9 of a page's text; "
        "name fewer --methods\n"
    )
    assert result.err == f"wrote {path}\n" + (note if tall else "")
    assert "note" not in tokencost(*words, "--methods", "fastv,visionzip").err


OUT = ("--output", "x.svg")
#: (words after `plot`, fragments that the sentence must hold)
MISTAKES = {
    "no output": (("tokens", *PRUNED), ("--output is missing", "PNG, SVG, PDF")),
    "ending": (("tokens", *PRUNED, "--output", "x.jpg"), ("x.jpg", "png, svg, pdf")),
    "style": (("tokens", *PRUNED, *OUT, "--style", "papre"), ("--style papre", "paper?")),
    "data ending": (
        ("tokens", *PRUNED, *OUT, "--data", "x.txt"),
        ("--data x.txt is no file of numbers", ".csv or .json"),
    ),
    "data directory": (("tokens", *PRUNED, *OUT, "--data", "no/x.csv"), ("--data no/x.csv",)),
    "kind": (("token",), ("token", "tokens")),
    "device missing, roofline": (("roofline", *PRUNED, *OUT), ("--device is missing",)),
    "device missing, latency": (("latency", *PRUNED, *OUT), ("--device is missing",)),
    "device unknown": (
        ("latency", *PRUNED, *OUT, "--device", "a1000"),
        ("--device a1000 is not known",),
    ),
    "layers, no meaning": (
        ("layers", "--model", "llama3.2-vision-11b", "--convention", "survey", *OUT),
        ("--convention survey has no figure", "use exact"),
    ),
    "ratio, no meaning": (
        ("ratio", "--model", "llama3.2-vision-11b", "--convention", "gated", *OUT),
        ("--convention gated has no figure", "use exact"),
    ),
    "length, no meaning": (
        ("length", "--model", "llama3.2-vision-11b", "--convention", "gated", *OUT),
        ("--convention gated has no figure", "use exact"),
    ),
    "compare, no meaning": (
        ("compare", "--model", "llama3.2-vision-11b", "--convention", "gated", *OUT),
        ("--convention gated has no figure", "use exact"),
    ),
    "idle causal": (
        ("layers", *PRUNED, "--convention", "survey", "--causal", *OUT),
        ("--causal changes exact figures alone",),
    ),
    "tokens, causal": (("tokens", *PRUNED, "--causal", *OUT), ("--causal changes no token",)),
    "tokens, batch": (("tokens", *PRUNED, "--batch", 2, *OUT), ("--batch changes no token",)),
    "tokens, new": (("tokens", *PRUNED, "--new-tokens", 2, *OUT), ("--new-tokens",)),
    "length, new": (("length", *PRUNED, "--new-tokens", 2, *OUT), ("--new-tokens",)),
    "latency, causal": (("latency", *PRUNED, *DEVICE, "--causal", *OUT), ("--causal",)),
    "roofline, causal": (("roofline", *PRUNED, *DEVICE, "--causal", *OUT), ("--causal",)),
    "roofline, loading": (
        ("roofline", *PRUNED, *DEVICE, "--load-ms", 3, *OUT),
        ("--load-ms 3 is no operator's time",),
    ),
    "roofline, runtime": (
        ("roofline", *PRUNED, *DEVICE, "--runtime", "graph", *OUT),
        ("--runtime graph changes no operator of a prefill",),
    ),
    "memory, causal": (("memory", *PRUNED, "--causal", *OUT), ("--causal", "no byte")),
    "memory, overhead": (
        ("memory", *PRUNED, *DEVICE, "--overhead", "torch", *OUT),
        ("--overhead torch", "--device"),
    ),
    "ratio, one layer": (
        ("ratio", *MODEL, "--prune-layer", 3, *OUT),
        ("--prune-layer 3 is a single value, and a heat map needs two", "such as 1:31"),
    ),
    "ratio, a range of one": (
        ("ratio", *MODEL, "--prune-layer", "3:3", *OUT),
        ("--prune-layer 3:3 is a single value, and a heat map needs two",),
    ),
    "ratio, falling": (
        ("ratio", *MODEL, "--prune-layer", "5:3", *OUT),
        ("--prune-layer 5:3",),
    ),
    "ratio, layer beyond": (
        ("ratio", *MODEL, "--prune-layer", "1:32", *OUT),
        ("--prune-layer 32 is not a layer of this model, which has 32",),
    ),
    "ratio, a word": (
        ("ratio", *MODEL, "--prune-layer", "1:last", *OUT),
        ("--prune-layer last is not a whole number",),
    ),
    "ratio, one ratio": (
        ("ratio", *MODEL, "--keep", "0.5", *OUT),
        ("--keep 0.5 is a single value", "0.05:1:0.05"),
    ),
    "ratio, no step": (("ratio", *MODEL, "--keep", "0.5:1", *OUT), ("--keep 0.5:1 has no step",)),
    "ratio, above 1": (("ratio", *MODEL, "--keep", "0.5:2:0.5", *OUT), ("--keep 2", "(0, 1]")),
    "ratio, step 0": (("ratio", *MODEL, "--keep", "0.5:1:0", *OUT), ("--keep 0.5:1:0", "0")),
    "ratio, too fine": (
        ("ratio", *MODEL, "--keep", "0.1:1:0.0001", *OUT),
        ("--keep 0.1:1:0.0001 makes 288,032 cells", "10,000 at most"),
    ),
    "ratio, no token left": (
        ("ratio", *MODEL, "--keep", "0.001:1:0.1", *OUT),
        ("--keep 0.001 leaves none of the 576 visual tokens",),
    ),
    "ratio, rounding": (("ratio", *MODEL, "--rounding", "flor", *OUT), ("--rounding flor",)),
    "ratio, schedule": (("ratio", *MODEL, "--method", "fastv", *OUT), ("--method",)),
    "ratio, new tokens of a paper": (
        ("ratio", *MODEL, "--convention", "survey", "--new-tokens", 9, *OUT),
        ("--new-tokens", "prefill"),
    ),
    "length, over": (("length", *MODEL, "--over", "image", *OUT), ("--over image", "images?")),
    "length, fixed": (
        ("length", *MODEL, "--over", "frames", "--images", 3, *OUT),
        ("--images", "--over frames"),
    ),
    "length, up to 1": (("length", *MODEL, "--up-to", 1, *OUT), ("--up-to 1", "2")),
    "length, sizes": (
        ("length", *MODEL, "--image-size", "9x9", "--image-size", "8x8", *OUT),
        ("--image-size is given several times",),
    ),
    "length, nothing fits": (
        ("length", *MODEL, "--over", "visual-tokens", "--tokens", 64, "--up-to", 9, *OUT),
        ("--tokens 64",),
    ),
    "length, one length": (
        ("length", "--model", "qwen2.5-vl-7b", "--over", "frames", "--up-to", 2, *OUT),
        ("--up-to 2 reaches a single length",),
    ),
    "compare, method": (("compare", *MODEL, "--methods", "fastvv", *OUT), ("did you mean fastv?",)),
    "compare, kind": (("compare", *MODEL, "--kind", "dots", *OUT), ("--kind dots", "points?")),
    "compare, sort": (("compare", *MODEL, "--sort", "cost", *OUT), ("--sort cost",)),
    "compare, sorted points": (
        ("compare", *MODEL, "--kind", "points", "--sort", "exact", *OUT),
        ("--sort exact orders no points",),
    ),
    "compare, crowded": (
        ("compare", *MODEL, "--kind", "points", *OUT),
        ("--kind points cannot tell", "24 --methods at most"),
    ),
    "compare, none": (
        ("compare", *MODEL, "--methods", "fastv", "--budget", 10**6, *OUT),
        ("--methods have figures for none of 1: fastv: ",),
    ),
    "mixture": (
        (
            *("roofline", *MODEL, *DEVICE, *OUT),
            *("--schedule", "mix.toml"),
        ),
        ("several ways",),
    ),
}
MIXTURE = """[[mixture]]
probability = 0.5
[[mixture]]
probability = 0.5
schedule = { stages = [{ first_layer = 2, ratio = 0.5 }] }
"""


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence(tokencost, tmp_path, monkeypatch, words, fragments):
    monkeypatch.chdir(tmp_path)
    Path("mix.toml").write_text(MIXTURE)
    result = tokencost("plot", *words)
    assert (result.status, result.out) == (2, ""), result
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["mix.toml"]


def test_the_device_s_own_file_is_not_overwritten(tokencost, tmp_path):
    device = tmp_path / "own.csv"
    shown = 'id = "own"\nname = "Own"\npeaks = { bf16 = 100 }\nmemory_gb = 80\n'
    device.write_text(shown + "bandwidth_gb_s = 1000\n")
    for kind in ("latency", "roofline", "memory"):
        words = ("--device", device, "--output", tmp_path / "x.svg", "--data", device)
        result = tokencost("plot", kind, *PRUNED, *words)
        assert result.status == 2
        assert "--data" in result.err
        assert device.read_text().startswith(shown)


def test_the_schedule_is_not_overwritten_by_its_numbers(tokencost, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text("[[stages]]\nfirst_layer = 2\nratio = 0.5\n")
    words = ("--schedule", plan, "--output", tmp_path / "x.svg", "--data", plan)
    result = tokencost("plot", "tokens", *MODEL, *words)
    assert result.status == 2
    assert "--data" in result.err
    assert "schedule file" in result.err
