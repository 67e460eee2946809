"""Towers with fewer patches from a layer on, and feed-forward networks with fewer channels."""

from __future__ import annotations

from fractions import Fraction

import pytest
from masked_reference import relative_error
from small_models import ONE_IMAGE, driven, request_of
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.primitives.widths import Channels
from vlm_tokencost.validation.activity import precedence
from vlm_tokencost.validation.narrow import narrowed
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.staged import staged_states

torch = pytest.importorskip("torch")
LLAVA, QWEN = ONE_IMAGE[0], ONE_IMAGE[4]
#: A crop of 4×4 patches and a class token; five blocks, the fourth's output is read.
WHOLE = 17


def tower_of(case):
    driver = driven(case.model, "sdpa", "float64")
    return driver, request_of(driver, case, batch=2).pixels


def test_kept_patches_are_those_of_a_masked_tower():
    driver, pixels = tower_of(LLAVA)
    left = (WHOLE, 9, 9, 5, 5)
    with torch.no_grad():
        found = staged_states(driver.adapter, pixels, left, "keep")
        vit = driver.adapter.tower
        vit = getattr(vit, "vision_model", vit)
        states = vit.pre_layrnorm(vit.embeddings(pixels.inputs["pixel_values"]))
        alive = list(range(16))
        for index, block in enumerate(driver.adapter.encoder_layers[:4]):
            count = left[index] - 1
            if count < len(alive):  # of those that are left, the first by precedence
                ranks = precedence(len(alive))
                alive = [place for place, rank in zip(alive, ranks, strict=True) if rank < count]
            hidden = torch.ones(WHOLE, dtype=torch.bool)
            hidden[[0, *(1 + place for place in alive)]] = False
            mask = torch.zeros(WHOLE, WHOLE, dtype=states.dtype)
            mask[:, hidden] = torch.finfo(states.dtype).min
            attended, _ = block.self_attn(
                block.layer_norm1(states), attention_mask=mask[None, None].expand(2, -1, -1, -1)
            )
            states = states + attended
            states = states + block.mlp(block.layer_norm2(states))
    assert found.shape[1] == 5
    assert relative_error(found, states[:, [0, *(1 + place for place in alive)]]) <= 1e-12


@pytest.mark.parametrize("op", ["pool", "unshuffle", "merge"])
def test_means_of_patches(op):
    driver, pixels = tower_of(LLAVA)
    left = (5,) * 5
    seen = []
    first = driver.adapter.encoder_layers[0]
    hook = first.layer_norm1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            staged_states(driver.adapter, pixels, left, op)
    finally:
        hook.remove()
    with torch.no_grad():
        vit = driver.adapter.tower
        vit = getattr(vit, "vision_model", vit)
        states = vit.pre_layrnorm(vit.embeddings(pixels.inputs["pixel_values"]))
    squares = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    runs = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    for token, group in enumerate(runs if op == "merge" else squares):
        mean = sum(states[:, 1 + place] for place in group) / 4
        assert relative_error(seen[0][:, 1 + token], mean) <= 1e-12
    assert (seen[0][:, 0] == states[:, 0]).all()


def test_towers_that_are_no_row_of_blocks_are_refused():
    driver, pixels = tower_of(QWEN)
    with pytest.raises(InvalidInput, match="between the encoder's layers"):
        staged_states(driver.adapter, pixels, (9,) * 4, "keep")
    driver, pixels = tower_of(LLAVA)
    with pytest.raises(InvalidInput, match="no squares make"), torch.no_grad():
        staged_states(driver.adapter, pixels, (8,) * 5, "pool")


def test_narrow_networks_are_those_whose_other_channels_are_zero():
    driver = driven(LLAVA.model, "sdpa", "float64")
    request = request_of(driver, LLAVA, batch=2)
    channels = Channels(ffn=Fraction(1, 3), encoder_ffn=Fraction(1, 2))
    dense = driver.prefill(request, Reduction()).logits
    with narrowed(driver.adapter, channels):
        shapes = [
            tuple(driver.adapter.layers[0].mlp.gate_proj.weight.shape),
            tuple(driver.adapter.layers[0].mlp.down_proj.weight.shape),
            tuple(driver.adapter.encoder_layers[0].mlp.fc1.weight.shape),
        ]
        found = driver.prefill(request, Reduction()).logits
    assert shapes == [(24, 48), (48, 24), (20, 32)]  # ⌊72/3⌋ of 72 and ⌊40/2⌋ of 40 channels
    assert (driver.prefill(request, Reduction()).logits == dense).all(), "nothing is left behind"
    saved = {}
    try:
        for layers, names, kept in (
            (driver.adapter.layers, ("gate_proj", "up_proj"), 24),
            (driver.adapter.encoder_layers, ("fc1",), 20),
        ):
            for layer in layers:
                for name in names:
                    linear = getattr(layer.mlp, name)
                    saved[linear] = linear.weight.detach().clone(), linear.bias
                    with torch.no_grad():
                        linear.weight[kept:] = 0
                        if linear.bias is not None:
                            saved[linear] = saved[linear][0], linear.bias.detach().clone()
                            linear.bias[kept:] = 0
        # 0 · anything is 0, and both activations map 0 to 0.
        expected = driver.prefill(request, Reduction()).logits
    finally:
        with torch.no_grad():
            for linear, (weight, bias) in saved.items():
                linear.weight.copy_(weight)
                if bias is not None:
                    linear.bias.copy_(bias)
    assert relative_error(found, expected) <= 1e-12
    assert relative_error(dense, expected) > 1e-3
