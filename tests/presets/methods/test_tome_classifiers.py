"""ToMe's own models: the GFLOPs (MACs) that are published for image classifiers.

DeiT-S and DeiT-T are 12 blocks over 196 patches of 16 pixels and a class token, 384 and 192 wide
with heads of 64 and a feed-forward network four times as wide.
"""

from __future__ import annotations

import pytest
from vlm_tokencost.costmodel import Model, Schedule, Workload, evaluate
from vlm_tokencost.presets import load_model


def classifier(width: int) -> Model:
    """Return LLaVA-1.5-7B with a DeiT as its encoder."""
    model = load_model("llava-1.5-7b")
    vision, heads = model.vision, width // 64

    def changed(part: str, **fields: int):
        return getattr(vision, part).model_copy(update=fields)

    return model.model_copy(
        update={
            "vision": vision.model_copy(
                update={
                    "hidden_size": width,
                    "num_hidden_layers": 12,
                    "contributing_layers": 12,
                    "attention": changed(
                        "attention", num_attention_heads=heads, num_key_value_heads=heads
                    ),
                    "feed_forward": changed("feed_forward", intermediate_size=4 * width),
                    "patch_embedding": changed("patch_embedding", patch_size=16),
                }
            ),
            "token_rule": model.token_rule.model_copy(
                update={"image_size": 224, "default_image": (224, 224)}
            ),
        }
    )


#: width, r → GFLOPs as printed; half of the patches at most merge: 11 · 16 leave 20 for the last
PRINTED = {
    (384, 0): 4.6,
    (384, 8): 3.4,
    (384, 13): 2.7,
    (384, 16): 2.3,
    (192, 8): 0.9,
    (192, 12): 0.8,
    (192, 16): 0.6,
}


@pytest.mark.parametrize(("setting", "printed"), PRINTED.items())
def test_published_gflops(setting, printed):
    width, merged = setting
    amounts = [merged] * 11 + [min(merged, (196 - 11 * merged) // 2)]
    schedule = Schedule(encoder={"merged_per_layer": amounts})
    report = evaluate(classifier(width), Workload(), schedule)
    macs = report.bill("exact").by_component()["vision"] // 2
    assert round(macs / 1e9, 1) == printed
