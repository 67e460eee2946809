"""The algebra: values, texts and number types of every closed form."""

import itertools
import math
import random
from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import formulas

NAMES = [
    name for name, value in vars(formulas).items() if hasattr(value, "text") and callable(value)
]
every_formula = pytest.mark.parametrize("name", NAMES)


VALUES = [
    ("linear_macs", (640, 4096, 11008), 28_856_811_520),  # 640 · 4096 · 11008
    ("attention_macs", (409_600, 32, 128, 128), 3_355_443_200),  # 640² · 32 · 256
    ("attention_macs", (10, 2, 3, 5), 160),  # 10 · 2 · (3 + 5)
    ("convolution_macs", (576, 3, 1024, 196), 346_816_512),  # 576 · 3 · 1024 · 14²
    ("square_pairs", (577,), 332_929),  # 577²
    ("window_pairs", (4, 0), 10),  # no window: 1 + 2 + 3 + 4
    ("window_pairs", (640, 0), 205_120),  # 640 · 641 / 2
    ("decode_pairs", (640, 1, 1, 1), 641),  # one forward: the prefill's 640 keys and its own
    ("decode_pairs", (640, 1, 3, 3), 1_926),  # 641 + 642 + 643
    ("decode_pairs", (0, 5, 8, 4), 26),  # 5 + 6 + 7 + 8
    ("window_pairs", (5, 2), 12),  # 15 causal pairs; a window of 3 cuts off 1 and 2
    ("block_pairs", (4, 0), 6),  # the upper triangle: 3 + 2 + 1
    ("block_pairs", (4, 2), 9),  # and the 1 + 2 pairs that a window of 2 cuts off
    ("window_decode_pairs", (6, 1, 2, 2, 3, 8), 39),  # 7 + 8, then 3 · 8
    ("cached_bytes", (576, 16), 1_152),  # 576 · 2 bytes
    ("cached_bytes", (1_024, 4), 512),  # half a byte per value
    ("cached_bytes", (5, 3), 2),  # 15 bits
    ("projection_term", (640, 4096), 42_949_672_960),  # 4 · 640 · 4096²
    ("score_term", (640, 4096), 3_355_443_200),  # 2 · 640² · 4096
    ("parted_projection_term", (64, 640, 4096), 23_622_320_128),  # 2 · 704 · 4096²
    ("pair_term", (40_960, 4096), 335_544_320),  # 2 · 64 · 640 · 4096
    ("plain_ffn_term", (640, 4096, 11008), 57_713_623_040),  # 2 · 640 · 4096 · 11008
    ("gated_ffn_term", (640, 4096, 11008), 86_570_434_560),  # 3 · 640 · 4096 · 11008
]


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    VALUES,
    ids=[f"{name}{operands}" for name, operands, _ in VALUES],
)
def test_value(name, operands, expected):
    result = getattr(formulas, name)(*operands)
    assert result == expected
    assert type(result) is int


def test_every_closed_form_has_a_value():
    assert {name for name, *_ in VALUES} == set(NAMES)


def test_one_mac_is_two_flops():
    assert formulas.FLOPS_PER_MAC == 2


# --- the printed text is the computed value ------------------------------------------------------


def evaluated(text, values):
    """Evaluate a formula's text over exact fractions, apart from the function it belongs to."""
    python = formulas.substitute(text, values).replace("·", "*").replace("²", "**2")
    assert set(python) <= set("0123456789 *+-/()⌈⌉"), python
    python = python.replace("⌈", "ceil(").replace("⌉", ")").replace("/ ", "/ Fraction(1) / ")
    return eval(python, {"Fraction": Fraction, "ceil": math.ceil})


def operands_of(name, numbers):
    """Return plausible operands: decode forwards run from `first` to `last` in `steps` steps."""
    symbols = getattr(formulas, name).symbols
    operands = {symbol: numbers.randint(1, 20_000) for symbol in symbols}
    if "steps" in operands:
        operands["last"] = operands["first"] + operands["steps"] - 1
    if "out" in operands:
        operands["out"] = min(operands["out"], operands.get("n", operands.get("v", 0)))
    if "bits" in operands:
        operands["bits"] = numbers.choice([3, 4, 8, 16, 32])
    return operands


@every_formula
def test_text_evaluates_to_the_value(name):
    formula, numbers = getattr(formulas, name), random.Random(name)
    for _ in range(50):
        values = operands_of(name, numbers)
        assert evaluated(formula.text, values) == formula(*values.values())


@every_formula
def test_symbols_are_the_operands(name):
    formula = getattr(formulas, name)
    values = {symbol: f"<{symbol}>" for symbol in formula.symbols}
    shown = formulas.substitute(formula.text, values)
    for symbol in formula.symbols:
        assert f"<{symbol}>" in shown  # every operand appears in the text, and no other name


def test_substitution():
    text = formulas.projection_term.text
    assert formulas.substitute(text, {"n": 640, "d": 4096}) == "4 · 640 · 4096²"
    text = formulas.attention_macs.text
    values = {"pairs": 9, "h": 2, "d_qk": 3, "d_v": 4}
    assert formulas.substitute(text, values) == "9 · 2 · (3 + 4)"


# --- sums that the closed forms stand for --------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 1000])
def test_without_a_window_pairs_are_the_lower_triangle(n):
    assert formulas.window_pairs(n, 0) == sum(1 for query in range(n) for _ in range(query + 1))


@pytest.mark.parametrize(("n", "window"), [(1, 1), (9, 4), (9, 9), (9, 20), (1000, 7)])
def test_window_pairs_are_the_band_of_the_mask(n, window):
    band = sum(1 for query in range(n) for key in range(query + 1) if query - key < window)
    assert formulas.window_pairs(n, max(n - window, 0)) == band


@pytest.mark.parametrize(("v", "window"), [(1, 1), (9, 4), (9, 9), (9, 20), (100, 7)])
def test_block_pairs_complete_the_band_to_a_square(v, window):
    band = sum(1 for query in range(v) for key in range(query + 1) if query - key < window)
    assert formulas.block_pairs(v, max(v - window, 0)) == v * v - band


@pytest.mark.parametrize(
    ("kept", "first", "last"), [(0, 1, 1), (640, 1, 9), (7, 3, 3), (352, 2, 127)]
)
def test_decode_pairs_are_the_keys_of_every_step(kept, first, last):
    by_step = sum(kept + step for step in range(first, last + 1))
    assert formulas.decode_pairs(kept, first, last, last - first + 1) == by_step


def test_published_terms_are_linear_layers_and_scores():
    n, d, m = 640, 4096, 11008
    assert formulas.projection_term(n, d) == 4 * formulas.linear_macs(n, d, d)
    assert formulas.score_term(n, d) == formulas.attention_macs(n * n, 32, 128, 128)
    assert formulas.plain_ffn_term(n, d, m) == 2 * formulas.linear_macs(n, d, m)
    assert formulas.gated_ffn_term(n, d, m) == 3 * formulas.linear_macs(n, d, m)


# --- ints of any size, float64 arrays, numpy scalars ----------------------------------------------


def test_ints_stay_exact_beyond_64_bits():
    n = 10**30 + 1
    assert formulas.square_pairs(n) == 10**60 + 2 * 10**30 + 1
    assert formulas.window_pairs(n, 0) == (10**60 + 3 * 10**30 + 2) // 2
    assert formulas.score_term(n, 3) == 6 * (10**60 + 2 * 10**30 + 1)


@every_formula
def test_float64_arrays_give_the_ints_elementwise(name):
    import numpy as np

    formula, numbers = getattr(formulas, name), random.Random(name)
    # Below 2**53 at every step: at most four operands of at most 1,000, times 4.
    rows = []
    for _ in range(40):
        values = operands_of(name, numbers)
        small = {symbol: value % 1_000 + 1 for symbol, value in values.items()}
        if "steps" in small:
            small["last"] = small["first"] + small["steps"] - 1
        if "bits" in small:
            small["bits"] = values["bits"]
        rows.append(tuple(small.values()))
    expected = [formula(*row) for row in rows]
    assert max(expected) < 2**53
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    result = formula(*columns)
    assert result.dtype == np.float64
    assert result.tolist() == [float(value) for value in expected]


@every_formula
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_every_array_becomes_float64(name, dtype):
    import numpy as np

    formula = getattr(formulas, name)
    array = np.array([2, 4, 8], dtype=dtype)
    others = [8] * (len(formula.symbols) - 1)
    result = formula(array, *others)
    assert result.dtype == np.float64
    assert result.tolist() == [float(formula(n, *others)) for n in (2, 4, 8)]
    assert array.dtype == np.dtype(dtype)  # the caller's array is left alone


@pytest.mark.parametrize(
    ("name", "n", "others"),
    [
        # Powers of two and ten whose products are exact in float64, and beyond int64's 9.2e18.
        pytest.param("score_term", 10**7, (2**20,), id="2n²d"),  # 2.1e20
        pytest.param("score_term", 10**9, (4096,), id="2n²d-long"),  # 8.2e21
        pytest.param("square_pairs", 10**10, (), id="n²"),  # 1e20
        pytest.param("projection_term", 10**10, (2**16,), id="4nd²"),  # 1.7e20
        pytest.param("gated_ffn_term", 10**10, (2**15, 2**15), id="3ndm"),  # 3.2e19
        pytest.param("linear_macs", 10**10, (2**16, 2**16), id="linear"),  # 4.3e19
        pytest.param("attention_macs", 10**14, (2**10, 2**10, 2**10), id="attention"),  # 2.1e20
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integer_arrays_do_not_overflow(name, n, others, dtype):
    import numpy as np

    formula = getattr(formulas, name)
    exact = formula(n, *others)
    assert exact > 2**63 - 1
    result = formula(np.array([n, 1], dtype=dtype), *others)
    assert result.tolist() == [float(exact), float(formula(1, *others))]


@every_formula
@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "uint8"])
def test_numpy_integer_scalars_become_python_ints(name, dtype):
    import numpy as np

    formula = getattr(formulas, name)
    values = [8 * (place + 1) for place in range(len(formula.symbols))]
    scalars = [np.dtype(dtype).type(value) for value in values]
    for replaced in itertools.product((False, True), repeat=len(values)):
        chosen = [
            scalar if swap else value
            for swap, scalar, value in zip(replaced, scalars, values, strict=True)
        ]
        result = formula(*chosen)
        assert type(result) is int
        assert result == formula(*values)


def test_numpy_scalars_do_not_overflow():
    import numpy as np

    # uint8 and int32 arithmetic would wrap: 200² = 40,000; 50,000² = 2,500,000,000
    assert formulas.square_pairs(np.uint8(200)) == 40_000
    assert formulas.square_pairs(np.int32(50_000)) == 2_500_000_000
    assert formulas.score_term(np.int64(10**9), np.int64(4096)) == 8192 * 10**18
    assert formulas.square_pairs(np.array(200, dtype=np.uint8)) == 40_000  # no dimensions


def test_broadcasting_a_sweep():
    import numpy as np

    lengths = np.array([[640], [352]])
    widths = np.array([4096.0, 5120.0])
    result = formulas.projection_term(lengths, widths)
    assert result.tolist() == [
        [42_949_672_960.0, 67_108_864_000.0],  # 4 · 640 · 4096², 4 · 640 · 5120²
        [23_622_320_128.0, 36_909_875_200.0],  # 4 · 352 · …
    ]
