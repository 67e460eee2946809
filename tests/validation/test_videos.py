"""Videos: transformers' own forward pass on frames, to the last bit, and its FLOPs by component."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from counted_runs import TEXT, Run, assert_equal
from small_models import Attention, attentions, driven, own
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload, evaluate
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.adapters import Clip
from vlm_tokencost.validation.compare import Setting, check, compare
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.prompt import Request, prompt_of
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.sequence import STRUCTURAL, VISUAL
from vlm_tokencost.validation.sequence import TEXT as OTHER

torch = pytest.importorskip("torch")
DECODE_FORWARDS = 6


class Film(NamedTuple):
    """A video, the patch grids that the model makes of it, and the visual tokens that leave."""

    model: str
    frames: int
    size: tuple[int, int]
    crops: tuple[tuple[int, int], ...]
    visual: int

    @property
    def clip(self) -> Clip:
        """The video of each request."""
        return Clip(self.frames, "video" if self.model.startswith("llava-one") else "none")

    def __str__(self) -> str:
        return f"{self.model}-{self.frames}-frames"


#: Small models: a frame of LLaVA-OneVision has 4×4 patches, pooled to 2×2 tokens, and one newline
#: stands behind all; a frame of InternVL has 8×8, joined to 4×4. Qwen's frames go in pairs, the
#: third with itself: 6×12 patches, joined to 3×6.
SMALL = [
    Film("llava-onevision-7b", 3, (56, 56), ((4, 4),) * 3, 3 * 4 + 1),
    Film("llava-next-video-7b", 3, (56, 56), ((4, 4),) * 3, 3 * 4),
    Film("smolvlm2-256m", 3, (112, 112), ((8, 8),) * 3, 3 * 16),
    Film("internvl3-8b", 3, (112, 112), ((8, 8),) * 3, 3 * 16),
    Film("qwen2-vl-7b", 3, (84, 168), ((6, 12),) * 2, 2 * 18),
    Film("qwen2.5-vl-7b", 3, (84, 168), ((6, 12),) * 2, 2 * 18),
    Film("qwen3-vl-8b", 3, (96, 192), ((6, 12),) * 2, 2 * 18),
    Film("qwen3-vl-30b-a3b", 3, (96, 192), ((6, 12),) * 2, 2 * 18),
]
ONEVISION, _, SMOLVLM, INTERNVL, _, QWEN2_5, QWEN3, _ = SMALL


def request_of(driver: Driver, film: Film, batch: int = 1, text: int = 20) -> Request:
    return driver.request([film.size], [film.crops], text, batch, seed=1, clip=film.clip)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("film", "attention"),
    [
        pytest.param(film, attention, id=f"{film}-{attention}")
        for film in SMALL
        for attention in attentions(film)  # type: ignore[arg-type]
    ],
)
def test_keep_everything_is_the_models_own_generation(
    film: Film, attention: Attention, batch: int
) -> None:
    driver, model = driven(film.model, attention), own(film.model, attention)
    request = request_of(driver, film, batch)
    inputs = driver.model_inputs(request)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    assert not {"pixel_values", "image_grid_thw"} & set(inputs) or film in (INTERNVL, SMOLVLM)
    prefilled = driver.prefill(request, logits="all")
    assert prefilled.entered.visual == film.visual
    with torch.no_grad():
        assert torch.equal(prefilled.logits, model(**inputs).logits)
    length = inputs["input_ids"].shape[1]
    generated = model.generate(
        **inputs,
        max_new_tokens=DECODE_FORWARDS + 1,
        min_new_tokens=DECODE_FORWARDS + 1,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = generated.sequences[:, length:]
    for step in range(DECODE_FORWARDS):
        logits = driver.decode(prefilled, tokens[:, step : step + 1])
        assert torch.equal(logits[:, 0], generated.logits[step + 1]), f"decode forward {step + 1}"


def test_frames_change_the_logits() -> None:
    """A frame that is another one is seen, or the test above would prove little."""
    for film in SMALL:
        driver = driven(film.model)
        request = request_of(driver, film)
        name = next(name for name in request.pixels.inputs if name.startswith("pixel"))
        changed = request.pixels.inputs[name].clone()
        changed[..., -1] += 1.0
        pixels = request.pixels._replace(inputs={**request.pixels.inputs, name: changed})
        before = driver.prefill(request).logits
        assert not torch.equal(before, driver.prefill(request._replace(pixels=pixels)).logits), film


# --- FLOPs at full size -------------------------------------------------------------------------


def films(frames: int) -> list[Film]:
    """Return videos at full size: patch grids, and tokens, by the families' own arithmetic."""
    pairs = (frames + 1) // 2
    return [
        Film("llava-onevision-7b", frames, (384, 384), ((27, 27),) * frames, frames * 14 * 14 + 1),
        Film("llava-next-video-7b", frames, (336, 336), ((24, 24),) * frames, frames * 12 * 12),
        # 512×512 pixels in patches of 16, sixteen of which are a token
        Film("smolvlm2-256m", frames, (512, 512), ((32, 32),) * frames, frames * 8 * 8),
        Film("internvl3-8b", frames, (448, 448), ((32, 32),) * frames, frames * 16 * 16),
        # 140×196 pixels in patches of 14, or 160×192 in patches of 16, four of which are a token
        Film("qwen2-vl-7b", frames, (140, 196), ((10, 14),) * pairs, pairs * 5 * 7),
        Film("qwen2.5-vl-7b", frames, (140, 196), ((10, 14),) * pairs, pairs * 5 * 7),
        Film("qwen3-vl-8b", frames, (160, 192), ((10, 12),) * pairs, pairs * 5 * 6),
    ]


@pytest.mark.parametrize("film", [*films(2), *films(3)[4:5], *films(8)], ids=str)
def test_flops_of_frames(driver_of: Callable[..., Driver], film: Film) -> None:
    driver = driver_of(film.model)
    request = driver.request([film.size], [film.crops], TEXT, clip=film.clip)
    dense = Run(driver, request, None, "last")
    assert dense.visual == film.visual
    asked = Workload(frames=film.frames, images=(film.size,), text_tokens=TEXT)
    model = load_model(film.model)
    report = evaluate(model, asked)
    assert_equal(report.bill("exact", scheduled=False), dense.prefill)
    assert_equal(report.decode_forward(1), dense.decode(1))
    layers = len(driver.adapter.layers)
    half = film.visual // 2
    kept = Reduction(visual=(film.visual,) * 2 + (half,) * (layers - 2), entering=film.visual)
    pruned = Run(driver, request, kept, "last")
    report = evaluate(model, asked, Schedule.keep(0.5, layer=2))
    assert_equal(report.bill("exact"), pruned.prefill)
    assert_equal(report.decode_forward(1), pruned.decode(1))
    assert pruned.lengths == [
        length - (film.visual - half) * (at >= 2) for at, length in enumerate(dense.lengths)
    ]


@pytest.mark.parametrize("counter", ["torch", "fvcore", "profiler"])
def test_a_small_video_under_every_counter(counter: Any) -> None:
    asked = Workload(frames=2, images=((56, 84),), text_tokens=8)
    report = evaluate(load_model("qwen2.5-vl-3b"), asked, Schedule.keep(0.5, layer=2))
    compared = list(compare(report, Setting(counter, "reduced", "cpu")))
    assert [one.side for one in compared] == ["baseline", "scheduled"]
    seen = {row.component for one in compared for row in one.rows if row.counted is not None}
    assert {"vision", "connector", "decoder", "head"} <= seen
    for one in compared:
        for row in one.rows:
            assert row.difference in (0, None), row
            if row.difference is None:  # torch.profiler knows no kernel on two frames
                assert (counter, row.kind) == ("profiler", "convolution"), row


# --- What frames become -------------------------------------------------------------------------


def test_llava_videos_frames_are_pooled_as_its_own_code_does() -> None:
    """Means of 2×2 tokens, the edge cut off, and a newline behind every row of every frame."""
    driver = driven("llava-onevision-7b")
    side, batch, frames = 4, 2, 3
    clip = Clip(frames, "row")
    request = driver.request([(56, 56)], [[(side, side)] * frames], 4, batch, seed=1, clip=clip)
    with torch.no_grad():
        (made,) = driver.adapter.features(request.pixels)
        flat = request.pixels.inputs["pixel_values_videos"].flatten(0, 1)
        tower = driver.adapter.base.vision_tower(flat, output_hidden_states=True)
        layer = driver.model.config.vision_feature_layer
        tokens = driver.adapter.base.multi_modal_projector(tower.hidden_states[layer])
    newline = driver.adapter.base.image_newline
    for of_one in range(batch):
        expected = []
        for frame in range(frames):
            grid = tokens[of_one * frames + frame].reshape(side, side, -1)
            for row in range(side // 2):
                for column in range(side // 2):
                    square = [grid[2 * row + r, 2 * column + c] for r in (0, 1) for c in (0, 1)]
                    expected.append(sum(square) / 4)
                expected.append(newline)
        assert made.shape[1] == len(expected) == frames * (2 * 2 + 2)
        torch.testing.assert_close(made[of_one], torch.stack(expected))


def test_qwen3s_prompt_is_the_processors() -> None:
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    frames_of_a_second = 2.0  # half a second apart

    class Metadata:
        frames_indices, fps = list(range(24)), frames_of_a_second

    class Video:
        merge_size, temporal_patch_size = 2, 2

    frames, per_pair = 24, 18
    processor: Any = object.__new__(Qwen3VLProcessor)
    processor.video_processor, processor.video_token = Video(), "<video>"
    processor.vision_start_token, processor.vision_end_token = "<start>", "<end>"
    grids = torch.tensor([[frames // 2, 6, 12]])
    inputs = {"video_grid_thw": grids, "video_metadata": [Metadata()]}
    written = "<start>" + processor.replace_video_token(inputs, 0) + "<end>"
    tokens = re.findall(r"<start>|<end>|<video>|<|>| seconds|\d|\.", written)
    assert "".join(tokens) == written
    film = Film("qwen3-vl-8b", frames, (96, 192), ((6, 12),) * 12, 12 * per_pair)
    assert kinds_of(film) == [VISUAL if one == "<video>" else STRUCTURAL for one in tokens]
    seen = evaluate(load_model(film.model), Workload(frames=frames)).dense.visual_input
    assert seen.structural_tokens == sum(one != "<video>" for one in tokens)


def test_internvls_prompt_is_the_processors() -> None:
    from transformers.models.internvl.processing_internvl import InternVLProcessor

    frames, per_frame = 12, 16
    processor: Any = object.__new__(InternVLProcessor)
    processor.start_image_token, processor.end_image_token = "<img>", "</img>"
    processor.image_token, processor.image_seq_length = "<image>", per_frame
    inputs = {"pixel_values_videos": [torch.zeros(frames, 3, 4, 4)]}
    written = processor.replace_video_token(inputs, 0)
    tokens = re.findall(r"</?im\w+>|Frame|\d|: ?|\n", written)
    # In Qwen2's vocabulary ":" and " " are two tokens here.
    tokens = [one for token in tokens for one in ([":", " "] if token == ": " else [token])]
    assert "".join(tokens) == written
    film = Film("internvl3-8b", frames, (112, 112), ((8, 8),) * frames, frames * per_frame)
    assert kinds_of(film) == [VISUAL if one == "<image>" else STRUCTURAL for one in tokens]
    seen = evaluate(load_model(film.model), Workload(frames=frames)).dense.visual_input
    assert seen.structural_tokens == sum(one != "<image>" for one in tokens)


def kinds_of(film: Film) -> list[int]:
    """Return the kinds of a prompt's tokens without its text."""
    driver = driven(film.model)
    prompt = prompt_of(driver.adapter, request_of(driver, film), [film.visual])
    return [kind for kind in prompt.kinds if kind != OTHER]


def test_pairs_of_frames_are_ranked_one_by_one() -> None:
    """VisionZip behind Qwen2.5-VL's connector keeps as many of each pair."""
    driver = driven("qwen2.5-vl-7b")
    kept = 6
    reduction = Reduction(
        compressed=(2 * kept, "after-connector"), entering=2 * kept, selection="visionzip"
    )
    tokens = driver.prefill(request_of(driver, QWEN2_5, batch=2), reduction).entered
    places = tokens.origin.gather(1, tokens.places(VISUAL))
    assert places.shape == (2, 2 * kept)
    times = tokens.positions[0].gather(1, tokens.places(VISUAL))
    for request in times:
        values, counts = request.unique(return_counts=True)
        assert (len(values), counts.tolist()) == (2, [kept, kept])


# --- Refusals -------------------------------------------------------------------------------------


def test_a_family_without_videos() -> None:
    driver = driven("gemma3-4b")
    with pytest.raises(InvalidInput, match="--frames 4 cannot be run: the driver takes no video"):
        driver.request([(112, 112)], [[(8, 8)] * 4], 4, clip=Clip(4))


@pytest.mark.parametrize(
    ("model_id", "schedule", "sentence"),
    [
        ("llava-onevision-7b", "before-connector", "which has pooling beside it, so there is"),
        ("qwen2-vl-7b", "before-connector", "which joins or averages neighbouring patches, so"),
    ],
)
def test_videos_that_cannot_be_run(model_id: str, schedule: Any, sentence: str) -> None:
    from vlm_tokencost.costmodel import Compress

    reduces = Schedule(compress=Compress(tokens=64, at=schedule)) if schedule else None
    report = evaluate(load_model(model_id), Workload(frames=4), reduces)
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        check(report)


def test_nothing_is_ranked_before_pooling() -> None:
    driver = driven("llava-onevision-7b")
    reduction = Reduction(compressed=(6, "after-connector"), entering=6, selection="visionzip")
    with pytest.raises(InvalidInput, match="its frames are pooled, so"):
        driver.prefill(request_of(driver, ONEVISION), reduction)
