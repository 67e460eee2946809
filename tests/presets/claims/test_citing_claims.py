"""Claims of the papers that cite PyramidDrop, of earlier methods, and published measurements."""

from collections import Counter
from decimal import Decimal

import pytest
from vlm_tokencost.costmodel import plan
from vlm_tokencost.costmodel.schedule import Schedule
from vlm_tokencost.presets.claim import CLAIMS, Claim, load_claims
from vlm_tokencost.presets.device import load_device
from vlm_tokencost.presets.language.text import parse_schedule
from vlm_tokencost.presets.loader import load_model
from vlm_tokencost.presets.method import list_methods, load_method

#: Claims in each file, as they were counted in the sources.
COUNTS = {
    "citing-aot": 5,
    "citing-comparisons": 14,
    "citing-desap": 5,
    "citing-dstp": 8,
    "citing-dualcomp": 12,
    "citing-earlier": 36,
    "citing-evocomp": 9,
    "citing-hawk": 11,
    "citing-images": 22,
    "citing-learnpruner": 6,
    "citing-pyramiddrop": 17,
    "citing-video": 22,
    "citing-videorouter": 11,
    "measured-images": 62,
    "measured-llava-next": 53,
    "measured-video": 53,
}


def in_file(name: str) -> list[str]:
    """Return the ids of a file's claims."""
    lines = (CLAIMS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return [line.split('"')[1] for line in lines if line.startswith("id = ")]


def ours() -> list[str]:
    return [claim for name in COUNTS for claim in in_file(name)]


@pytest.mark.parametrize("name", COUNTS)
def test_files_hold_what_was_counted(name: str) -> None:
    ids = in_file(name)
    assert len(ids) == COUNTS[name]
    assert set(ids) <= set(load_claims())


def test_no_other_file_is_of_these_families() -> None:
    found = {path.stem for pattern in ("citing-*", "measured-*") for path in CLAIMS.glob(pattern)}
    assert {name.removesuffix(".toml") for name in found} == set(COUNTS)


def test_ids_of_methods_models_and_devices_exist() -> None:
    methods = set(list_methods())
    for claim_id in ours():
        claim = load_claims()[claim_id]
        assert not claim.applies or claim.applies in methods, claim_id
        if claim.model:
            load_model(claim.model)
        if claim.device:
            assert load_device(claim.device).id == claim.device, claim_id


def test_figures_that_are_referred_to_exist_and_measure_alike() -> None:
    claims = load_claims()
    for claim_id in ours():
        claim = claims[claim_id]
        if isinstance(claim.baseline, str):
            dense = claims[claim.baseline]
            assert dense.dense, claim_id
            same = (claim.quantity, claim.model, claim.scope, claim.device)
            assert same == (dense.quantity, dense.model, dense.scope, dense.device), claim_id
        if claim.cost:
            assert claims[claim.cost].quantity.startswith("flops "), claim_id
        for relation in claim.follows:
            units = {claims[one].unit for one in relation.of if isinstance(one, str)}
            assert len(units) <= 1, claim_id


def schedule(claim: Claim) -> Schedule | None:
    """Return the claim's schedule without the choice of tokens, which costs but moves none."""
    model = load_model(claim.model)
    if isinstance(claim.schedule, str):
        return parse_schedule(claim.schedule, model.decoder.num_hidden_layers)
    if claim.schedule is not None:
        return Schedule(**claim.schedule)
    if claim.dense or not claim.applies or claim.unsettled:
        return None
    found = load_method(claim.applies).schedule(model, claim.workload(), claim.budget)
    return found.model_copy(update={"selection": None})


def test_settings_can_be_planned() -> None:
    settled = Counter[str]()
    for claim_id in ours():
        claim = load_claims()[claim_id]
        if not claim.model:
            continue
        found = schedule(claim)
        plan(load_model(claim.model), claim.workload(), found)
        if claim.judged and not claim.dense:
            assert found is not None or claim.unsettled, claim_id
            settled["settled" if found is not None else "unsettled"] += 1
    assert settled["settled"] > settled["unsettled"] > 0


def test_sources_are_told_apart() -> None:
    for claim_id in ours():
        claim = load_claims()[claim_id]
        if claim.source_kind == "notes":
            assert claim.verification in ("secondary", "calculated"), claim_id
            assert not claim.primary, claim_id
        if claim.source_kind == "documents":
            assert claim.verification == "survey", claim_id


#: id → value, unit, quantity, and a field that a verdict needs, as the source has them.
READ = {
    "pyramiddrop-02": ("55", "%", "flops reduction", ("visual_tokens", 2880)),
    "pyramiddrop-11": ("62.2", "%", "training ratio", ("printed", "85 (62.2%)")),
    "pyramiddrop-17": ("78.9", "%", "training ratio", ("printed", "75 (78.9%)")),
    "desap-01": ("10", "×", "flops factor", ("budget", 64)),
    "aot-04": ("9.3", "TFLOP", "flops", ("schedule", "compress 0.25")),
    "dualcomp-06": ("3.87", "s", "time", ("baseline", "dualcomp-05")),
    "zipvl-01": ("2.3", "×", "speed-up", ("scope", "prefill")),
    "fastocr-01": ("3", "×", "speed-up", ("scope", "attention")),
    "eventprune-02": ("1.89", "×", "speed-up", ("cost", "eventprune-03")),
    "llava-uhd-v4-11": ("55.8", "%", "flops reduction", ("scope", "encoder")),
    "survey-baseline-02": ("3817", "TFLOP", "flops", ("corrected", Decimal("3.817"))),
    "hawk-09": ("904", "s", "total time", ("printed", "15:04")),
    "measured-coin-05": ("54", "ms", "time", ("scope", "llm-prefill")),
    "measured-twigvlm-1": ("1.043", "×", "speed-up", ("new_tokens", 100)),
    "measured-v2drop-12": ("-54.8", "%", "memory reduction", ("printed", "+54.8 %")),
}


@pytest.mark.parametrize("claim_id", READ)
def test_figures_are_as_printed(claim_id: str) -> None:
    value, unit, quantity, (field, content) = READ[claim_id]
    claim = load_claims()[claim_id]
    assert str(claim.value) == value
    assert (claim.unit, claim.quantity) == (unit, quantity)
    assert getattr(claim, field) == content
