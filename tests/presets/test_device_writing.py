"""A device written to a file is read as the same device."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel.device import Efficiency
from vlm_tokencost.presets.device import list_devices, load_device
from vlm_tokencost.presets.device_file import to_toml


@pytest.mark.parametrize("name", list_devices())
def test_every_preset_is_read_back(tmp_path, name):
    path = tmp_path / "x.toml"
    path.write_text(to_toml(load_device(name)), encoding="utf-8")
    assert load_device(str(path)) == load_device(name)


def test_numbers_and_texts_of_a_users_device(tmp_path):
    device = load_device("a100").model_copy(
        update={
            "id": "mine",
            "bandwidth_gb_s": Fraction("2039.25"),
            "efficiency": Efficiency(compute="0.7068", launch_us="1e-3", source='a "b" \\ µs\x7f'),
            "efficiency_by_precision": {"int8": Efficiency(compute=Fraction(1, 3))},
        }
    )
    text = to_toml(device)
    assert "bandwidth_gb_s = 2039.25\n" in text
    assert "launch_us = 0.001\n" in text
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    found = load_device(str(path))
    # a third has no decimal: the nearest float is written
    assert float(found.constants("int8").compute) == 1 / 3
    same = {"efficiency_by_precision"}
    assert found.model_dump(exclude=same) == device.model_dump(exclude=same)
