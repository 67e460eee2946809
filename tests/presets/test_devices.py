"""Device presets: dense rates only, names that users type, what is unverified."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from device_rules import CLOSE, PRINTED, UNITS, mistakes
from vlm_tokencost.costmodel import InvalidInput, TokencostError, UnknownName
from vlm_tokencost.costmodel.device import PRECISIONS, Device, Peaks
from vlm_tokencost.presets import device as presets
from vlm_tokencost.presets.device import list_devices, load_device, unverified_figures

IDS = list_devices()

# --- figures -------------------------------------------------------------------------------------


def test_every_device_is_there():
    # 47 of the survey, and the other memory size of both V100s
    assert len(IDS) == len(set(IDS)) == 49
    assert set(UNITS) | set(PRINTED) == set(IDS)


@pytest.mark.parametrize("device_id", IDS)
def test_peaks_are_dense(device_id):
    assert mistakes(load_device(device_id)) == []


def changed(device: Device, figure: str, value: float) -> Device:
    """Return a device with another figure."""
    if figure in PRECISIONS:
        rates = {name: getattr(device.peaks, name) for name in PRECISIONS if device.native(name)}
        peaks = Peaks(**{**{name: str(rate) for name, rate in rates.items()}, figure: str(value)})
        return device.model_copy(update={"peaks": peaks})
    return device.model_copy(update={figure: Fraction(str(value))})


#: Figures that public tables hold: device, figure, wrong value, what the table did.
TRAPS = [
    ("h100-sxm", "fp16", 1979, "sparse"),
    ("h100-sxm", "fp8", 3958, "sparse"),
    ("h100-sxm", "bf16", 133, "the rate of the vector units"),
    ("a100-80-sxm", "fp32", 156, "tf32 called fp32"),
    ("h100-pcie", "fp32", 66.9, "the SXM module"),
    ("h100-sxm", "bandwidth_gb_s", 3072, "LLM-Viewer"),
    ("a100-80-sxm", "bandwidth_gb_s", 1555, "the card with 40 GB"),
    ("l4", "fp16", 242, "sparse"),
    ("l4", "fp8", 485, "sparse"),
    ("l40s", "fp16", 733, "sparse"),
    ("l40", "fp16", 362.05, "the L40S"),
    ("rtx-a6000", "fp16", 309.7, "sparse"),
    ("b200", "fp8", 9000, "sparse"),
    ("b200", "bf16", 3500, "GenZ: sparse"),
    ("gb200", "bf16", 4500, "GenZ: sparse"),
    ("gb200", "bf16", 5000, "two GPUs"),
    ("gh200-96", "bf16", 1979, "GenZ: sparse"),
    ("mi300x", "fp16", 2615, "sparse"),
    ("mi250x", "fp16", 383, "two dies"),
    ("mi250x", "bandwidth_gb_s", 3277, "two dies"),
    ("rtx-3090", "fp16", 142, "accumulation in fp16"),
    ("rtx-4090", "fp16", 330.3, "accumulation in fp16"),
    ("rtx-4090", "fp8", 660.6, "accumulation in fp16"),
    ("rtx-5090", "fp16", 838, "accumulation in fp16, sparse"),
    ("rtx-5090", "fp4", 3352, "sparse"),
    ("a10g", "fp16", 125, "the A10"),
    ("jetson-agx-orin-64", "int8", 275, "sparse, with DLA"),
    ("jetson-agx-orin-64", "int8", 170, "sparse"),
    ("jetson-agx-thor", "fp4", 2070, "sparse"),
    ("jetson-agx-thor", "fp16", 130, "a quarter of fp8"),
]


@pytest.mark.parametrize(("device_id", "figure", "wrong", "what"), TRAPS)
def test_wrong_figures_of_public_tables_are_caught(device_id, figure, wrong, what):
    found = mistakes(changed(load_device(device_id), figure, wrong))
    assert any(one.startswith(figure) for one in found), what


@pytest.mark.parametrize("device_id", IDS)
def test_a_sparse_rate_is_caught_at_every_device(device_id):
    device = load_device(device_id)
    rates = {name: getattr(device.peaks, name) for name in PRECISIONS if device.native(name)}
    sparse = {name: str(rate if name == "fp32" else 2 * rate) for name, rate in rates.items()}
    doubled = device.model_copy(update={"peaks": Peaks(**sparse)})
    assert mistakes(doubled), "all matrix rates doubled"


def test_memory_that_tables_have_wrong():
    assert load_device("a10").memory_gb == 24  # llm-analysis: 28
    assert load_device("mi250x").memory_gb == 64  # 128 of both dies
    assert load_device("b200").memory_gb == 180  # 192 in the specification


def test_ridge_point_of_an_a100():
    device = load_device("a100")
    # 312·10¹² FLOP/s / 2039·10⁹ B/s
    assert device.peak("bf16") / device.bandwidth == pytest.approx(153.01618, rel=1e-7)


@pytest.mark.parametrize(
    ("device_id", "precision", "compute", "memory"),
    [
        ("a100", "bf16", 0.75, 0.90),
        ("h100", "bf16", 0.75, 0.90),
        ("h100", "fp8", 0.50, 0.90),
        ("a40", "bf16", 0.75, 0.90),
        ("l40s", "fp8", 0.87, 0.90),
        ("l40s", "bf16", 0.75, 0.90),
        ("4090", "fp16", 0.92, 0.90),
        ("3090", "fp16", 0.92, 0.90),
        ("orin", "fp16", 0.51, 0.85),
        ("m3-max", "fp16", 0.65, 0.85),
    ],
)
def test_efficiency_by_class(device_id, precision, compute, memory):
    constants = load_device(device_id).constants(precision)
    assert (float(constants.compute), float(constants.memory)) == (compute, memory)
    assert (constants.exponent, constants.launch_us) == (Fraction(3, 2), 6)


def test_the_same_constants_for_a100_and_h100():
    a100, h100 = load_device("a100").efficiency, load_device("h100").efficiency
    assert a100 == h100  # the proof allows no fit per device


GA100 = ("a100-40-pcie", "a100-40-sxm", "a100-80-pcie", "a100-80-sxm")

# --- what is known of them -----------------------------------------------------------------------


@pytest.mark.parametrize("device_id", IDS)
def test_sources_and_what_is_unverified(device_id):
    device = load_device(device_id)
    every = (device.efficiency, *device.efficiency_by_precision.values())
    assert all(one.source for one in every)
    figures = unverified_figures(device)
    assert {name for name in device.unverified if "." in name or name != "peaks"} <= set(figures)
    remembered = any("from memory" in source for source in device.source)
    assert not remembered or figures, "something is from memory, but what?"
    if device.verification == "memory":
        assert remembered
        assert figures


@pytest.mark.parametrize("device_id", ["t4", "a800-80", "rtx-4090", *GA100])
def test_rates_of_int4_that_no_source_confirms(device_id):
    assert "peaks.int4" in unverified_figures(load_device(device_id))


def test_peaks_stand_for_each_peak():
    assert unverified_figures(load_device("m3-max")) == ("peaks.fp32", "peaks.fp16", "peaks.bf16")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device_id", IDS)
def test_ids_aliases_and_product_names(device_id):
    device = load_device(device_id)
    assert device.id == device_id
    assert re.fullmatch(r"[a-z0-9-]+", device_id)
    for name in (device.name, device.name.upper(), *device.aliases):
        assert load_device(name) is device


@pytest.mark.parametrize(
    ("name", "device_id"),
    [
        ("a100", "a100-80-sxm"),
        ("A100-80GB", "a100-80-sxm"),
        ("A100-40GB", "a100-40-sxm"),
        ("a800", "a800-80"),
        ("h100", "h100-sxm"),
        ("H100-80GB", "h100-sxm"),
        ("H100-SXM", "h100-sxm"),
        ("h800", "h800-sxm"),
        ("h20", "h20"),
        ("gh200", "gh200-96"),
        ("4090", "rtx-4090"),
        ("rtx4090", "rtx-4090"),
        ("RTX 3090", "rtx-3090"),
        ("A6000", "rtx-a6000"),
        ("RTX 6000 Ada", "rtx-6000-ada"),
        ("orin", "jetson-agx-orin-64"),
        ("Jetson AGX Orin 64GB", "jetson-agx-orin-64"),
        ("Jetson AGX Thor", "jetson-agx-thor"),
        ("V100", "v100-sxm2-32"),
        ("l40s", "l40s"),
        # What torch.cuda.get_device_name() says
        ("NVIDIA A100-SXM4-80GB", "a100-80-sxm"),
        ("NVIDIA A100 80GB PCIe", "a100-80-pcie"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA RTX A6000", "rtx-a6000"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32"),
        ("Tesla T4", "t4"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
    ],
)
def test_names_that_users_type(name, device_id):
    assert load_device(name).id == device_id


def test_no_two_devices_share_a_name():
    plain = [
        presets._plain(name)
        for device in map(load_device, IDS)
        for name in {presets._plain(one) for one in (device.id, device.name, *device.aliases)}
    ]
    assert len(plain) == len(set(plain))
    assert "" not in plain


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("h1000", "did you mean h100?"),
        ("rtx-409", "did you mean rtx-4090?"),
        ("", "see `tokencost devices list`"),
        ("nvidia", "see `tokencost devices list`"),
        ("a1" * 400, "see `tokencost devices list`"),
    ],
)
def test_unknown_names(name, way_out):
    with pytest.raises(UnknownName) as told:
        load_device(name, "--device")
    assert told.value.field == "--device"
    assert told.value.way_out == way_out


@pytest.mark.parametrize("name", [None, 7, 4090.0, ["a100"]])
def test_names_that_are_no_text(name):
    with pytest.raises(InvalidInput, match="is not a device id"):
        load_device(name)


# --- wrong presets -------------------------------------------------------------------------------

FAMILY = """[family]
vendor = "V"
architecture = "A"

[devices.x]
name = "X"
memory_gb = 1
bandwidth_gb_s = {bandwidth}
verification = "memory"
source = ["from memory"]
peaks = {{ fp16 = 1 }}
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (FAMILY.format(bandwidth=0), "own.toml: x.bandwidth_gb_s 0 is not a plausible"),
        ("[family", "own.toml: is not TOML"),
    ],
)
def test_a_wrong_preset_is_ours(tmp_path, monkeypatch, text, complaint):
    (tmp_path / "own.toml").write_text(text)
    monkeypatch.setattr(presets, "DEVICES", tmp_path)
    with pytest.raises(TokencostError, match=complaint) as told:
        load_device("X")
    assert not isinstance(told.value, InvalidInput)


def test_a_right_preset_beside_it(tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(FAMILY.format(bandwidth=9))
    monkeypatch.setattr(presets, "DEVICES", tmp_path)
    assert list_devices() == ["x"]
    assert load_device("X").bandwidth == 9e9
    assert load_device("x").efficiency.source == presets.FITTED


def test_the_tolerance_tells_factors_apart():
    assert CLOSE < 0.1, "half as much again is no rounding"
