"""What is drawn is what --data holds."""

from __future__ import annotations

import pytest
from vlm_tokencost.cli.asked import Asked
from vlm_tokencost.cli.plots.figure import LOOKS, SCREEN
from vlm_tokencost.costmodel import Counting, Report, Schedule, Workload, evaluate, plan
from vlm_tokencost.presets import load_model


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluate(load_model("llava-1.5-7b"), schedule=Schedule.keep(0.5, layer=2))


def of(plot, **wanted: object) -> list[dict]:
    return [row for row in plot.rows if all(row[key] == one for key, one in wanted.items())]


def test_steps_of_tokens(report):
    from vlm_tokencost.cli.plots.tokens import plot

    made = plot(report)
    (axis,) = made.draw(SCREEN).axes
    steps = [list(patch.get_data().values) for patch in axis.patches]
    for side in ("baseline", "scheduled"):
        tokens = [row["tokens"] for row in of(made, side=side, quantity="processed")]
        assert tokens in steps
        stored = [row["tokens"] for row in of(made, side=side, quantity="KV stored")]
        assert stored in [list(line.get_ydata()) for line in axis.lines]
    assert [64] * 32 in steps, "text"


def test_cells_of_a_grid():
    from fractions import Fraction

    from vlm_tokencost.cli.plots.ratio import Grid, plot

    model, workload = load_model("llava-1.5-7b"), Workload()
    asked = Asked(model, workload, Counting(), plan(model, workload))
    keeps = tuple(Fraction(n, 4) for n in range(1, 5))
    made = plot(asked, Grid((0, 2, 4), keeps, "floor"), "survey")
    axis = made.draw(SCREEN).axes[0]
    (mesh,) = [
        one
        for one in axis.collections
        if one.get_array() is not None and one.get_array().size == 12
    ]
    assert [float(cell) for cell in mesh.get_array().ravel()] == [
        100 * row["ratio"] for row in made.rows
    ]
    corners = mesh.get_coordinates()
    assert corners[0, :, 0].tolist() == [-1, 1, 3, 5], "every cell's middle is its layer"
    assert corners[:, 0, 1].tolist() == [0.125, 0.375, 0.625, 0.875, 1.125]


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize(
    ("model", "lowest"),
    # 4 to 100 %, and with cross-attention, where visual tokens cost little, 96 to 100 %
    [("llava-1.5-7b", 0), ("llama3.2-vision-11b", 95)],
)
def test_lines_of_equal_cost_say_what_they_are(model, lowest, look):
    from fractions import Fraction

    from vlm_tokencost.cli.plots.ratio import Grid, plot

    shown, workload = load_model(model), Workload()
    asked = Asked(shown, workload, Counting(), plan(shown, workload))
    keeps = tuple(Fraction(n, 10) for n in range(1, 11))
    made = plot(asked, Grid(tuple(range(0, 31, 2)), keeps, "floor"), "exact")
    axis, bar = made.draw(look).axes
    (lines,) = [one for one in axis.collections if hasattr(one, "levels")]
    labels = {text.get_text() for text in axis.texts}
    assert len(lines.levels) >= 3
    assert labels == {f"{level:g} %" for level in lines.levels}
    assert bar.get_ylim() == (lowest, 100)
    assert ("colours from 95 %" in bar.get_ylabel()) == bool(lowest)
    assert lowest <= 100 * min(row["ratio"] for row in made.rows)


def test_pale_bars_of_the_cache_are_explained(report):
    from vlm_tokencost.cli.memory_rows import answer
    from vlm_tokencost.cli.plots.memory import plot
    from vlm_tokencost.costmodel.peak import Asking

    for one, pale in ((report, True), (evaluate(report.model), False)):
        made = plot(one, answer(one, Asking(), None).peaks, Asking(), None)
        (legend,) = made.draw(SCREEN).legends
        names = [text.get_text() for text in legend.get_texts()]
        assert ("KV cache saved (pale)" in names) == pale


def test_the_longest_operators_name_their_run(report):
    from vlm_tokencost.cli.plots.roofline import plot

    def said(one: Report) -> str:
        text = plot(_timed(one)).draw(SCREEN).get_suptitle()
        return " ".join(text.split())

    assert "longest in the scheduled run: A gate + up, prefill" in said(report)
    assert "longest: A gate + up, prefill" in said(evaluate(report.model))


def test_bars_and_peaks_of_memory(report):
    from vlm_tokencost.cli.memory_rows import answer
    from vlm_tokencost.cli.plots.memory import plot
    from vlm_tokencost.costmodel.peak import Asking

    made = plot(report, answer(report, Asking(), None).peaks, Asking(), None)
    phases, cache = made.draw(SCREEN).axes
    shown = of(made, panel="phases", side="scheduled")
    bars = [patch for patch in phases.patches if hasattr(patch, "get_height")]
    heights = [bar.get_height() * 2**30 for bar in bars]
    terms = [row[term] for term in ("fixed", "kv_cache", "other") for row in shown]
    assert heights == pytest.approx(terms, rel=1e-12), "weights, equal on both sides, are hidden"
    marks = [line for line in phases.lines if line.get_linestyle() == "None"]
    peaks = of(made, panel="phases", peak=True)
    weights = shown[0]["weights"]
    assert [float(mark.get_ydata()[0]) * 2**30 for mark in marks] == pytest.approx(
        [row["total"] - weights for row in peaks]
    )
    stored = [patch.get_height() * 2**20 for patch in cache.patches[:32]]
    assert stored == [row["total"] for row in of(made, panel="KV cache", side="scheduled")]


def test_weights_that_differ_are_drawn():
    from vlm_tokencost.cli.memory_rows import answer
    from vlm_tokencost.cli.plots.memory import plot
    from vlm_tokencost.costmodel.peak import Asking

    report = evaluate(load_model("llava-1.5-7b"), schedule=Schedule(bits={"weights": 4}))
    made = plot(report, answer(report, Asking(), None).peaks, Asking(), None)
    phases = made.draw(SCREEN).axes[0]
    assert phases.get_ylabel() == "GiB"
    first = phases.patches[0].get_height() * 2**30
    assert first == pytest.approx(of(made, side="scheduled")[0]["weights"])


def _timed(report: Report):
    from vlm_tokencost.costmodel.latency import latency
    from vlm_tokencost.presets.device import load_device

    return latency(report, load_device("a100-80gb", "--device"))


def test_points_of_a_roofline(report):
    from vlm_tokencost.cli.plots.roofline import plot

    made = plot(_timed(report))
    (axis,) = made.draw(SCREEN).axes
    points = {tuple(map(float, one.get_offsets()[0])) for one in axis.collections}
    assert points == {(row["flop_per_byte"], row["flop_per_second"]) for row in made.rows}
    # 312 TFLOP/s over 2039 GB/s: the ridge
    slope = axis.lines[0]
    assert float(slope.get_xdata()[1]) == pytest.approx(312e12 / 2039e9)
    assert list(axis.lines[1].get_ydata()) == [312e12, 312e12]


def test_bars_of_times(report):
    from vlm_tokencost.cli.plots.latency import plot

    made = plot(_timed(report))
    stacked, apart = made.draw(SCREEN).axes
    for place, run in enumerate(("baseline", "scheduled", "text only")):
        bars = [
            bar for bar in stacked.patches if round(bar.get_y() + bar.get_height() / 2) == place
        ]
        seconds = [row["central"] for row in of(made, run=run, kind="stage")]
        assert [bar.get_width() / 1e3 for bar in bars] == pytest.approx(seconds)
    assert [label.get_text() for label in apart.get_xticklabels()] == [
        row["name"] for row in of(made, run="baseline", kind="stage")
    ]


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_nothing_is_cut_off(report, look):
    """Axes, letters, caption and legend stay inside."""
    from vlm_tokencost.cli.memory_rows import answer
    from vlm_tokencost.cli.plots import latency, layers, length, memory, roofline, tokens
    from vlm_tokencost.costmodel.peak import Asking

    workload = Workload(images=((336, 336),) * 2)
    more = evaluate(report.model, workload, report.schedule)
    timed = _timed(report)
    peaks = answer(report, Asking(), None).peaks
    made = [
        layers.plot(report, "exact"),
        tokens.plot(report),
        memory.plot(report, peaks, Asking(), None),
        roofline.plot(timed),
        latency.plot(timed),
        length.plot("images", [1, 2], [report, more], "exact"),
    ]
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for one in made:
        figure = one.draw(look)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        inches = figure.get_tightbbox(canvas.get_renderer())
        width, height = figure.get_size_inches()
        assert inches.x0 >= 0, one.kind
        assert inches.y0 >= 0, one.kind
        assert inches.x1 <= width, one.kind
        assert inches.y1 <= height, one.kind


def test_a_caption_is_broken_between_words(report):
    from vlm_tokencost.cli.plots.caption import Caption
    from vlm_tokencost.cli.plots.figure import PAPER, styled

    line = " ".join(["words"] * 40) + " 59.18 % 12 ms"
    with styled(PAPER):
        text = Caption((line,), ("detail",), ("doubt",)).text(PAPER)
        wide = Caption((line,), ("detail",), ("doubt",)).text(SCREEN)
    assert " ".join(text.split()) == f"{line} doubt", "a narrow figure leaves details out"
    assert " ".join(wide.split()) == f"{line} detail doubt"
    assert all(row.startswith("    ") for row in text.splitlines()[1:-1])
    assert "59.18 %" in text
    assert "12 ms" in text


@pytest.mark.parametrize(
    ("last", "counts"),
    [(1, [1]), (5, [1, 2, 3, 4, 5]), (40, list(range(1, 41)))],
)
def test_few_counts_are_all_priced(last, counts):
    from vlm_tokencost.cli.plots.sequences import growing

    assert growing(last) == counts


def test_many_counts_grow_evenly():
    from vlm_tokencost.cli.plots.sequences import growing

    counts = growing(131_072)
    assert (counts[0], counts[-1]) == (1, 131_072)
    assert counts == sorted(set(counts))
    assert 20 < len(counts) <= 40
