"""A schedule without a rule keeps evenly spaced tokens, wherever it acts."""

from __future__ import annotations

from small_models import ONE_IMAGE, SEVERAL_IMAGES, driven, own, request_of
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.rules import rule_of
from vlm_tokencost.validation.sequence import VISUAL

LLAVA = ONE_IMAGE[0]  # 16 visual tokens, 5 encoder blocks of which 4 are used, 6 decoder layers


def test_in_the_llm() -> None:
    driver = driven(LLAVA.model)
    reduction = Reduction(visual=(16, 16, 5, 5, 2, 2))
    stages = driver.prefill(request_of(driver, LLAVA), reduction).stages
    # ⌊i·16/5⌋ = 0, 3, 6, 9, 12; of those ⌊i·5/2⌋ = 0, 2; the image begins behind 10 text tokens
    visual = {
        layer: tokens.origin[0][tokens.kinds[0] == VISUAL].tolist()
        for layer, tokens in stages.items()
    }
    assert visual == {2: [10, 13, 16, 19, 22], 4: [10, 16]}


def test_behind_the_connector() -> None:
    import torch

    driver = driven(LLAVA.model)
    request = driver.request([(56, 56)] * 2, [[(4, 4)]] * 2, text_tokens=4, batch=2, seed=1)
    dense = driver.prefill(request).entered.states_of(VISUAL)
    reduction = Reduction(compressed=(6, "after-connector"))
    kept = driver.prefill(request, reduction).entered.states_of(VISUAL)
    # ⌊i·32/6⌋ of both images
    assert torch.equal(kept, dense[:, [0, 5, 10, 16, 21, 26]])


def test_before_the_connector() -> None:
    import torch

    driver = driven(LLAVA.model)
    request = driver.request([(56, 56)] * 2, [[(4, 4)]] * 2, text_tokens=4, batch=2, seed=1)
    reduction = Reduction(compressed=(6, "before-connector"))
    kept = driver.prefill(request, reduction).entered.states_of(VISUAL)
    images = own(LLAVA.model).model.get_image_features(**request.pixels.inputs).pooler_output
    dense = torch.stack([torch.cat(images[:2]), torch.cat(images[2:])])
    expected = dense[:, [0, 5, 10, 16, 21, 26]]
    # The MLP runs on fewer rows, so its sums run in another order.
    assert torch.linalg.vector_norm(kept - expected) <= 1e-6 * torch.linalg.vector_norm(expected)


def test_in_the_encoder() -> None:
    import torch

    rule_run = driven(LLAVA.model)
    states = torch.arange(18.0).view(1, 9, 2).repeat(2, 1, 1)
    states[1] += 100
    sizes = torch.ones(2, 9)
    rule = rule_of(Reduction(), rule_run.adapter)
    left, left_sizes = rule.in_encoder(None, states, sizes, 2)  # type: ignore[arg-type]
    # Even tokens 0 2 4 6 8, odd ones 1 3 5 7; behind the class token, evens ⌊i·4/2⌋ + 1 = 1 and 3,
    # tokens 2 and 6, go into the odd ones of the same number, tokens 3 and 7.
    order = [[0], [4], [8], [1], [3, 2], [5], [7, 6]]
    expected = torch.stack([states[:, group].mean(dim=1) for group in order], dim=1)
    assert torch.equal(left, expected)
    assert left_sizes.tolist() == [[len(group) for group in order]] * 2


def test_in_the_encoder_at_the_limit() -> None:
    import torch

    rule = rule_of(Reduction(), driven(LLAVA.model).adapter)
    states = torch.arange(18.0).view(1, 9, 2)
    left, sizes = rule.in_encoder(None, states, torch.ones(1, 9), 4)  # type: ignore[arg-type]
    # All evens but the class token merge; token 8 has no odd one behind it and joins token 7.
    order = [[0], [1], [3, 2], [5, 4], [7, 6, 8]]
    expected = torch.stack([states[:, group].mean(dim=1) for group in order], dim=1)
    assert torch.equal(left, expected)
    assert sizes.tolist() == [[1, 1, 2, 2, 3]]


def test_before_the_connector_with_images_of_several_crops() -> None:
    import torch

    next_ = SEVERAL_IMAGES[1]  # 5 and 3 crops of 16 patches
    driver = driven(next_.model)
    pixels = request_of(driver, next_, batch=2).pixels
    states = driver.adapter.tower_states(pixels)
    rule = rule_of(Reduction(), driver.adapter)
    visual = rule.before_connector(pixels, lambda: states, 16)
    # Every eighth of 128 patches: 10 of the first 80, 6 of the other 48
    assert visual.dense == [10, 6]
    flat = states[:, 1:].reshape(2, 128, -1)
    expected = driver.adapter.connect(flat[:, ::8])
    assert torch.equal(torch.cat(visual.tokens, dim=1), expected)
