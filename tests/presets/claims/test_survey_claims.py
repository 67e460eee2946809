"""Claims of the survey and of the methods that it lists, against tables typed off the sources."""

from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import prod

import pytest
from vlm_tokencost.costmodel import plan
from vlm_tokencost.costmodel.schedule import Schedule
from vlm_tokencost.presets.claim import CLAIMS, UNITS, Claim, Relation, load_claims
from vlm_tokencost.presets.device import load_device
from vlm_tokencost.presets.loader import load_model
from vlm_tokencost.presets.method import list_methods, load_method

#: Numbers of each file's claims, first and last of every run.
NUMBERS = {
    "survey-tables": [(1, 41)],
    "survey-fastv": [(42, 167)],
    "survey-pyramiddrop": [(168, 193)],
    "survey-sparsevlm": [(194, 223)],
    "survey-visionzip": [(224, 265)],
    "survey-tome": [(266, 278), (280, 285)],
    "survey-divprune": [(286, 309)],
    "survey-vscan": [(310, 314)],
    "survey-pact": [(315, 320)],
    "survey-trim": [(321, 324)],
    "survey-topv": [(325, 339)],
    "survey-internvl-x": [(340, 344)],
    "survey-greedyprune": [(345, 345)],
    "survey-sp-vla": [(346, 350)],
    "survey-encoders": [(351, 352), (355, 356), (367, 374)],
    "survey-connectors": [(353, 354), (357, 366), (375, 376)],
}
#: Records that are no claims; the file that would hold them says why.
DROPPED = {"SV279": "survey-tome"}


def in_file(name: str) -> list[str]:
    """Return the ids of a file's claims."""
    lines = (CLAIMS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return [line.split('"')[1] for line in lines if line.startswith("id = ")]


def ours() -> list[Claim]:
    return [load_claims()[claim] for name in NUMBERS for claim in in_file(name)]


@pytest.mark.parametrize("name", NUMBERS)
def test_files_hold_their_numbers(name: str) -> None:
    wanted = [f"SV{n:03d}" for first, last in NUMBERS[name] for n in range(first, last + 1)]
    assert sorted(in_file(name)) == wanted


def test_every_number_is_there_or_dropped_with_a_reason() -> None:
    assert {path.stem for path in CLAIMS.glob("survey-*.toml")} == set(NUMBERS)
    everything = {f"SV{n:03d}" for n in range(1, 377)}
    assert everything - {claim.id for claim in ours()} == set(DROPPED)
    assert len(ours()) == 375
    for claim_id, name in DROPPED.items():
        head = (CLAIMS / f"{name}.toml").read_text(encoding="utf-8").split("[defaults]")[0]
        assert f"Left out: {claim_id}" in head


def test_ids_of_methods_models_and_devices_exist() -> None:
    methods = set(list_methods())
    for claim in ours():
        assert not claim.applies or claim.applies in methods, claim.id
        if claim.model:
            load_model(claim.model)
        if claim.device:
            assert load_device(claim.device).id == claim.device, claim.id


def test_sources_are_told_apart() -> None:
    for claim in ours():
        assert claim.source_kind != "user", claim.id
        if claim.source_kind == "survey":
            assert (claim.verification, claim.primary) == ("survey", False), claim.id
        if claim.source_kind == "notes":
            assert (claim.verification, claim.primary) == ("secondary", False), claim.id


def schedule(claim: Claim) -> Schedule | None:
    """Return the claim's schedule without the choice of tokens, which costs but moves none."""
    if claim.schedule is not None:
        assert isinstance(claim.schedule, dict)
        return Schedule(**claim.schedule)
    if claim.dense or not claim.applies or claim.unsettled:
        return None
    method = load_method(claim.applies)
    found = method.schedule(load_model(claim.model), claim.workload(), claim.budget)
    return found.model_copy(update={"selection": None})


def test_settings_can_be_planned() -> None:
    settled = []
    for claim in ours():
        if not claim.model:
            continue
        found = schedule(claim)
        plan(load_model(claim.model), claim.workload(), found)
        for visual in claim.visual_lengths:
            request = claim.workload().model_copy(update={"visual_tokens": visual})
            plan(load_model(claim.model), request, found)
        if claim.judged and not claim.dense:
            assert found is not None or claim.unsettled, claim.id
            assert found is None or not claim.unsettled, claim.id
            settled += [claim.id] if found is not None else []
    # 33 and 24 cells of FastV's table are prices or shares with a setting; others come on top.
    assert len(settled) > 100


def interval(value: Decimal, unit: str, *, cut: bool = False) -> tuple[Fraction, Fraction]:
    """Return what a printed number may have been before it was rounded, or cut."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    step = Fraction(10) ** exponent
    low, high = (0, step) if cut else (-step / 2, step / 2)
    size = UNITS[unit].size
    return (Fraction(value) + low) * size, (Fraction(value) + high) * size


KINDS = {
    "ratio": lambda a, b: a / b,
    "reduction": lambda a, b: 1 - a / b,
    "factor": lambda a, b: b / a,
    "product": lambda a, b: a * b,
    "sum": lambda *terms: sum(terms),
    "equal": lambda a: a,
}


def following(claim: Claim, relation: Relation) -> tuple[Fraction, Fraction]:
    """Return the range of what a relation gives."""
    claims = load_claims()
    named = [claims[one] for one in relation.of if isinstance(one, str)]
    unit = named[0].unit if named else claim.unit
    ends = []
    for one in relation.of:
        if isinstance(one, str):
            value = claims[one].value
            assert value is not None
            ends.append(interval(value, claims[one].unit))
        else:
            # What a source counts, such as 54 + 10 tokens, is exact.
            whole = Fraction(one) * UNITS[unit].size
            ends.append((whole, whole) if relation.kind == "sum" else interval(one, unit))
    values = [KINDS[relation.kind](*corner) for corner in product(*ends)]
    return min(values), max(values)


def test_figures_follow_from_those_beside_them() -> None:
    """A slip of a digit in either would show; the one that does not follow is known."""
    checked, odd = 0, set()
    for claim in ours():
        for relation in claim.follows:
            assert claim.value is not None, claim.id
            low, high = following(claim, relation)
            least, most = interval(claim.value, claim.unit, cut=claim.cut)
            checked += 1
            if high < least or low > most:
                odd.add(claim.id)
    # 1 − 0.161/0.330 is 51.2 %, where 55 is printed.
    assert odd == {"SV298"}
    assert checked > 60


def test_baselines_are_dense_figures_of_the_same_kind() -> None:
    claims = load_claims()
    for claim in ours():
        if isinstance(claim.baseline, str):
            dense = claims[claim.baseline]
            assert dense.dense, claim.id
            same = (claim.quantity, claim.unit, claim.model, claim.scope, claim.device)
            assert same == (dense.quantity, dense.unit, dense.model, dense.scope, dense.device)
            assert claim.weight_bits == dense.weight_bits, claim.id
        if claim.cost:
            assert claims[claim.cost].quantity.startswith("flops "), claim.id


BENCHMARKS = ("61.9", "64.7", "58.1", "1862", "85.9", "69.5", "78.5", "58.2", "50.0")
#: Id → a row of the survey's table as printed: nine benchmarks and their average.
ROWS = {
    "SV005": "ToMe [7] 54.3 60.5 - 1563 72.4 65.2 68.0 52.1 - 88.5%",
    "SV006": "ToMe 52.4 53.3 - 1343 62.8 59.6 63.0 49.1 - 80.4%",
    "SV007": "ToMe 48.6 43.7 - 1138 52.5 50.0 57.1 45.3 - 70.1%",
    "SV008": "FastV [12] 52.7 61.2 57.0 1612 64.8 67.3 67.1 52.5 50.8 90.4%",
    "SV009": "FastV 49.6 56.1 56.4 1490 59.6 60.2 61.8 50.6 51.3 85.4%",
    "SV010": "FastV 46.1 48.0 52.7 1256 48.0 51.1 55.0 47.8 50.8 76.7%",
    "SV011": "SparseVLM [69] 57.6 62.5 53.7 1721 83.6 69.1 75.6 56.1 50.5 96.1%",
    "SV012": "SparseVLM 56.0 60.0 51.1 1696 80.5 67.1 73.8 54.9 51.4 93.7%",
    "SV013": "SparseVLM 52.7 56.2 46.1 1505 75.1 62.2 68.2 51.8 50.1 87.2%",
    "SV014": "PyramidDrop [60] 57.3 63.3 56.8 1797 82.3 69.0 75.1 56.5 51.1 97.2%",
    "SV015": "PyramidDrop 57.1 61.6 56.6 1761 82.3 68.4 72.9 56.6 51.0 96.2%",
    "SV016": "PyramidDrop 47.5 58.8 50.5 1561 55.9 69.2 69.2 50.6 50.7 86.6%",
    "SV017": "VisionZip 59.3 63.0 - 1783 85.3 68.9 77.4 57.3 - 97.8%",
    "SV018": "VisionZip 57.6 62.0 - 1763 83.2 68.9 75.6 56.8 - 96.2%",
    "SV019": "VisionZip 55.1 60.1 - 1690 77.0 69.0 72.4 55.5 - 92.7%",
    "SV020": "VScan (Ours) 60.6 63.9 57.4 1806 86.2 68.6 77.8 57.7 50.4 99.0%",
    "SV021": "VScan (Ours) - 59.8 63.0 58.0 1792 86.1 68.9 77.1 57.3 51.7 98.8%",
    "SV022": "VScan (Ours) - 58.3 62.1 55.7 1698 85.0 69.1 75.4 55.6 51.8 96.7%",
}


@pytest.mark.parametrize("claim_id", ROWS)
def test_averages_are_the_means_of_their_rows(claim_id: str) -> None:
    *cells, average = ROWS[claim_id].split()
    shifted = cells[2] == "-"  # a tenth cell before the nine figures
    scores = cells[3:] if shifted else cells[-9:]
    assert shifted == (claim_id in ("SV021", "SV022"))
    ratios = [
        Fraction(score) / Fraction(dense)
        for score, dense in zip(scores, BENCHMARKS, strict=True)
        if score != "-"
    ]
    mean = sum(ratios) / len(ratios)
    claim = load_claims()[claim_id]
    low, high = interval(Decimal(average.rstrip("%")), "%", cut=claim.cut)
    assert low <= mean <= high
    assert claim.cut == (claim_id == "SV022")  # 96.75
    assert f"{claim.value}%" == average
    assert ROWS[claim_id].startswith(claim.method)
    assert ("one column too far" in claim.note) == shifted


#: Id → the start of a row of the survey's other table, whose last cell is the token count.
TOKENS = {
    "SV023": "MobileVLM V2 Mobilellama-2.7B 1.2M/3.6M 144",
    "SV024": "BLIP-2 Vicuna-13B 129M/- 32",
    "SV025": "Instruct-BLIP Vicuna-7B 129M/1.2M 64",
    "SV026": "QwenVL Qwen-7B 1.4B/50M 256",
    "SV027": "VILA Llama2-7B 50M/1M 576",
    "SV028": "Mini-Gemini Vicuna-7B 1.2M/1.5M 576",
    "SV029": "LLaVA-1.5 Vicuna-7B 558K/665K 576",
    "SV030": "TokenPacker Vicuna-7B 558K/665K 144",
    "SV031": "InternVL2 Internlm2.5-7B 558K/665K 256",
    "SV032": "Monkey Qwen-7B -/1.44M ~1024",
    "SV033": "TokenPacker-HD Vicuna-7B 1.2M/1.5M ~954",
    "SV034": "Mini-Gemini-HD Vicuna-7B 1.2M/1.5M 2880",
    "SV035": "FastVITHD Qwen-2-7B 558K/1.1M 256",
    "SV036": "LLaVA-UHD Vicuna-13B 595K/665K ~256",
    "SV037": "LLaVA-NeXT Vicuna-7B 558K/765K ~2880",
    "SV038": "InternVL2-HD Internlm2.5-7B 558K/770K ~1282",
    "SV039": "LLaVA-Meteor compare to LLaVA-UHD Vicuna-13B 595K/665K ~256",
    "SV040": "LLaVA-Meteor compare to LLaVA-UHD Vicuna-13B 595K/665K ~114",
    "SV041": "LLaVA-Meteor compare to LLaVA-UHD Vicuna-13B 595K/665K ~56",
}


@pytest.mark.parametrize("claim_id", TOKENS)
def test_token_counts_are_as_printed(claim_id: str) -> None:
    claim, cell = load_claims()[claim_id], TOKENS[claim_id].split()[-1]
    assert TOKENS[claim_id].startswith(claim.method)
    assert claim.value == Decimal(cell.lstrip("~"))
    assert (claim.hedge == "about") == cell.startswith("~")


@pytest.mark.parametrize(
    ("claim_id", "tokens", "printed"),
    [
        ("SV001", 576, "3,817 TFLOPs"),
        ("SV002", 192, "~1,253 TFLOPs"),
        ("SV003", 128, "~833 TFLOPs"),
        ("SV004", 64, "~415 TFLOPs"),
    ],
)
def test_headings_are_a_thousand_times_too_large(claim_id: str, tokens: int, printed: str) -> None:
    # 32 layers of 4nd² + 2n²d + 3ndm with d = 4,096 and m = 11,008.
    macs = 32 * (4 * tokens * 4096**2 + 2 * tokens**2 * 4096 + 3 * tokens * 4096 * 11008)
    claim = load_claims()[claim_id]
    assert claim.printed == printed
    assert claim.value is not None
    assert claim.corrected is not None
    # In 10¹² as printed, 3,817 and not 3.817: the digits are those of 10⁹.
    assert int(claim.value) == (macs // 10**9 if claim.cut else round(macs / 10**9))
    low, high = interval(claim.corrected, "TMAC")
    assert low <= macs <= high


#: Id → kept tokens and, in version 1.5, clusters behind layers 2, 6 and 15: ⌊0.3·dropped⌋ + 1
#: tokens are recycled into ⌊that/10⌋ + 1 clusters.
LISTS = {
    "SV216": (300 + 9, 200 + 4, 110 + 3),  # 83, 33 and 29 of 276, 109 and 94 are recycled
    "SV217": (303 + 9, 110 + 7, 36 + 3),
    "SV218": (238 + 11, 48 + 7, 26 + 1),
    "SV219": (66 + 16, 30 + 2, 17 + 1),
    "SV220": (300, 200, 118),
    "SV221": (238, 108, 60),
    "SV222": (246, 54, 28),
    "SV223": (66, 34, 20),
}


@pytest.mark.parametrize("claim_id", LISTS)
def test_counters_take_a_pruning_layer_as_pruned(claim_id: str) -> None:
    claim, tokens = load_claims()[claim_id], (576, *LISTS[claim_id])
    counted = Fraction(sum(map(prod, zip((2, 4, 9, 17), tokens, strict=True))), 32)
    run = Fraction(sum(map(prod, zip((3, 4, 9, 16), tokens, strict=True))), 32)
    assert claim.value is not None
    assert claim.corrected is not None
    for exact, printed in ((counted, claim.value), (run, claim.corrected)):
        low, high = interval(printed, "tokens")
        assert low <= exact <= high
    found = plan(load_model(claim.model), claim.workload(), schedule(claim))
    assert found.average_visual_tokens == run


def test_cache_of_sparsevlm_is_that_of_its_layers() -> None:
    # 206.5 tokens on average in 32 layers: keys and values of 4,096 numbers of two bytes.
    claim = load_claims()["SV210"]
    assert claim.corrected == Decimal("108.3")
    assert round(Fraction("206.5") * 32 * 2 * 4096 * 2 / 10**6, 1) == Fraction("108.3")
    assert claim.value == Decimal("100.8")
    # 1 − 206.5/576
    assert load_claims()["SV211"].corrected == Decimal("64.1")


FASTV = {
    "SV044": ("99.3", "19.9 20 55.2, 32.8 33 67.1, 54.6 55 69.7"),
    "SV053": ("99.3", "22.8 23 62.4, 34.8 35 68.0, 56.6 57 69.8"),
    "SV062": ("99.3", "27.8 28 63.1, 39.7 40 68.5, 59.6 60 69.6"),
    "SV071": ("99.3", "18.9 19 40.4, 28.8 29 49.1, 51.6 52 69.0"),
    "SV111": ("71.9", "15.8 22 61.7, 24.4 34 67.0, 39.5 55 69.2"),
    "SV082": ("154.6", "29.7 19 65.3, 50.2 32 73.0, 84.6 55 73.6"),
    "SV091": ("154.6", "33.0 21 66.0, 52.9 34 72.2, 86.4 56 73.5"),
    "SV100": ("154.6", "39.6 26 68.0, 58.4 38 72.5, 90.1 58 73.5"),
}


@pytest.mark.parametrize("first", FASTV)
def test_fastv_table_is_as_printed(first: str) -> None:
    """R = 90, 75 and 50 % of one K: cost, its share of the dense cost, and the mean score."""
    dense, cells = FASTV[first]
    claims, number = load_claims(), int(first[2:])
    for column, cell in enumerate(cells.replace(",", "").split()):
        claim = claims[f"SV{number + column:03d}"]
        assert str(claim.value) == cell
        kind = ("flops per layer", "flops ratio", "accuracy")[column % 3]
        assert claim.quantity == kind
        assert f"R={(90, 75, 50)[column // 3]}%" in claim.setting
    for row in cells.split(", "):
        cost, share, _ = map(Decimal, row.split())
        rounded = (Decimal(dense) * share / 100).quantize(Decimal("0.1"))
        # The 7B and Qwen-VL cells are the rounded share times the dense figure; the 13B's are not.
        assert (rounded == cost) or dense == "154.6"


def test_fastv_13b_cells_follow_the_formula() -> None:
    d, m = 5120, 13824
    for first, k in (("SV082", 2), ("SV091", 3), ("SV100", 5)):
        for index, kept in enumerate((Fraction("57.6"), Fraction(144), Fraction(288))):
            claim = load_claims()[f"SV{int(first[2:]) + 3 * index:03d}"]
            full, short = (
                4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m for n in (Fraction(612), 36 + kept)
            )
            assert claim.value is not None
            low, high = interval(claim.value, "GMAC")
            assert low <= (k * full + (40 - k) * short) / 40 <= high


#: Id → value, unit and quantity, and a field that a verdict needs, as the source has them.
READ = {
    "SV120": ("45", "%", "flops reduction", ("convention", "survey")),
    "SV138": ("0.138", "s", "time", ("device", "a100-80-sxm")),
    "SV150": ("0.124", "s", "time", ("baseline", "SV141")),
    "SV163": ("9", "GB", "memory", ("weight_bits", 4)),
    "SV178": ("40", "%", "training reduction", ("visual_tokens", 2880)),
    "SV181": ("79", "h", "training time", ("baseline", Decimal(104))),
    "SV195": ("36.50", "ms", "time", ("scope", "llm-prefill")),
    "SV205": ("37", "%", "time reduction", ("verification", "abstract")),
    "SV237": ("3.0", "×", "speed-up", ("scope", "end-to-end")),
    "SV270": ("167.7", "images/s", "throughput", ("baseline", Decimal("85.7"))),
    "SV300": ("15.63", "%", "flops ratio", ("convention", "survey")),
    "SV310": ("2.91", "×", "speed-up", ("scope", "prefill")),
    "SV321": ("79", "%", "token reduction", ("hedge", "about")),
    "SV327": ("2.1", "×", "speed-up", ("cost", "SV325")),
    "SV332": ("565", "s", "total time", ("printed", "9:25 (minutes:seconds)")),
    "SV351": ("57.0", "%", "flops reduction", ("hedge", "at least")),
    "SV367": ("85", "×", "speed-up", ("scope", "ttft")),
}


@pytest.mark.parametrize("claim_id", READ)
def test_figures_are_as_printed(claim_id: str) -> None:
    value, unit, quantity, (field, content) = READ[claim_id]
    claim = load_claims()[claim_id]
    assert str(claim.value) == value
    assert (claim.unit, claim.quantity) == (unit, quantity)
    assert getattr(claim, field) == content


def test_lengths_of_divprune_are_those_of_its_script() -> None:
    claims = load_claims()
    assert claims["SV300"].text_lengths == (15, 15, 23, 83, 25, 113, 15, 39, 21, 91, 57)
    assert claims["SV301"].text_lengths == claims["SV300"].text_lengths
    assert sum(claims["SV301"].visual_lengths) == 22808
    assert claims["SV302"].text_lengths == (28, 63, 21, 38, 196)
