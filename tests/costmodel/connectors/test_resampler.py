"""Resamplers and perceivers against torch on the meta device and published counts."""

from typing import Any

import pytest
from counted_modules import counted, empty, on_meta, priced, stored
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.architecture import Connector
from vlm_tokencost.costmodel.connectors import Flow

GRIDS = {(32, 32): 2, (10, 17): 1}  # crops of 1,024 and of 170 tokens


def resampler(hidden: int, queries: int, heads: int, head_dim: int, **more: Any) -> dict[str, Any]:
    """One layer as Qwen-VL, MiniCPM-V and LLaVA-UHD have it: ln_q, ln_kv, attention with biases."""
    attention = {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": head_dim,
        "qkv_bias": True,
        "output_bias": True,
        "norms": 1,
        "source_norm": True,
    }
    return {
        "kind": "resampler",
        "hidden_size": hidden,
        "num_queries": queries,
        "attention": attention,
        "norm": "layer",
        **more,
    }


def linear(c_in: int, c_out: int, bias: bool = False) -> dict[str, Any]:
    return {"kind": "linear", "in_features": c_in, "out_features": c_out, "bias": bias}


def norm(width: int) -> dict[str, Any]:
    return {"kind": "norm", "norm": "layer", "width": width}


def connector(*stages: dict[str, Any]) -> Connector:
    return Connector(name="under test", stages=stages, source=["test"])


def one_layer(source: int, hidden: int, queries: int, heads: int, positions: int) -> Connector:
    """kv_proj, the resampler, ln_post, proj."""
    return connector(
        linear(source, hidden),
        resampler(hidden, queries, heads, hidden // heads, position_embeddings=positions),
        norm(hidden),
        linear(hidden, hidden),
    )


QWEN_VL = one_layer(1664, 4096, queries=256, heads=32, positions=256)
MINICPM_V = one_layer(1152, 3584, queries=64, heads=28, positions=0)  # positions are no parameter
LLAVA_UHD = one_layer(1024, 5120, queries=64, heads=8, positions=64)

PERCEIVER_ATTENTION = {"norms": 1, "source_norm": True}  # no biases
IDEFICS2 = connector(
    {
        "kind": "gated",
        "in_features": 1152,
        "intermediate_size": 14336,
        "out_features": 4096,
        "bias": False,
    },
    {
        "kind": "resampler",
        "hidden_size": 4096,
        "num_queries": 64,
        "num_hidden_layers": 3,
        "attention": {
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "head_dim": 96,
            **PERCEIVER_ATTENTION,
        },
        "latents_are_keys": True,
        "feed_forward": {"intermediate_size": 16384, "gated": True, "bias": False},
        "norm": "rms",
        "final_norm": True,
    },
)
OPENFLAMINGO = connector(
    {
        "kind": "resampler",
        "hidden_size": 1024,
        "num_queries": 64,
        "num_hidden_layers": 6,
        "attention": {
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
            "head_dim": 64,
            **PERCEIVER_ATTENTION,
        },
        "latents_are_keys": True,
        "feed_forward": {"intermediate_size": 4096, "gated": False, "bias": False},
        "norm": "layer",
        "final_norm": True,
    }
)


def flow(grids: dict[tuple[int, int], int], batch: int = 1) -> Flow:
    return Flow(grids=grids, batch=batch, arranged=0, text_tokens=7)


@pytest.mark.parametrize(
    ("built", "published"),
    [
        # Qwen-VL: 1664·4096 + 4·(4096² + 4096) + 2·256·4096 + 3·2·4096 + 4096²
        # = 6,815,744 + 67,125,248 + 2,097,152 + 24,576 + 16,777,216; the rest of 9,656,935,168.
        (QWEN_VL, 92_839_936),
        # MiniCPM-V 2.6: 1152·3584 + 4·(3584² + 3584) + 64·3584 + 3·2·3584 + 3584²
        # = 4,128,768 + 51,394,560 + 229,376 + 21,504 + 12,845,056; the rest of 8,099,175,152.
        (MINICPM_V, 68_619_264),
        # LLaVA-UHD: 1024·5120 + 4·(5120² + 5120) + 2·64·5120 + 3·2·5120 + 5120²
        # = 5,242,880 + 104,878,080 + 655,360 + 30,720 + 26,214,400
        (LLAVA_UHD, 137_021_440),
        # Idefics2: 3·(4096·1536·2 + 4096·384·2 + 3·4096·16384 + 3·4096) + 64·4096 + 4096
        # = 3·(12,582,912 + 3,145,728 + 201,326,592 + 12,288) + 262,144 + 4,096 = 651,468,800,
        # and 2·1152·14336 + 14336·4096 = 33,030,144 + 58,720,256 = 91,750,400
        (IDEFICS2, 743_219_200),
        # OpenFlamingo: 6·(4·1024·512 + 2·1024·4096 + 3·2·1024) + 64·1024 + 2·1024
        # = 6·(2,097,152 + 8,388,608 + 6,144) + 65,536 + 2,048
        (OPENFLAMINGO, 63_019_008),
    ],
    ids=["qwen-vl", "minicpm-v-2.6", "llava-uhd", "idefics2", "openflamingo"],
)
def test_parameters_equal_the_published_count(built: Connector, published: int) -> None:
    assert built.parameters(4096) == published


def _repeated_queries(source: int, hidden: int, queries: int, heads: int) -> Any:
    """What their papers describe: project and norm the crop, attend from repeated queries."""
    import torch
    from torch import nn

    class Reference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.empty(queries, hidden))
            self.into = nn.Linear(source, hidden, bias=False)
            self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(3)])
            self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
            self.out = nn.Linear(hidden, hidden, bias=False)

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            keys = self.norms[0](self.into(crops))
            asked = self.norms[1](self.query).repeat(len(crops), 1, 1)
            positions = torch.empty(1, 1, hidden, device="meta")
            found, _ = self.attention(asked, keys + positions, keys)
            return self.out(self.norms[2](found))

    return on_meta(Reference)


@pytest.mark.parametrize(
    ("built", "shape", "positions"),
    [
        (QWEN_VL, (1664, 4096, 256, 32), 256),
        (MINICPM_V, (1152, 3584, 64, 28), 0),
        (LLAVA_UHD, (1024, 5120, 64, 8), 64),
    ],
    ids=["qwen-vl", "minicpm-v-2.6", "llava-uhd"],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_one_layer_equals_torch(
    built: Connector, shape: tuple[int, int, int, int], positions: int, batch: int
) -> None:
    source, hidden = shape[:2]
    reference = _repeated_queries(*shape)
    runs = [
        lambda grid=grid, crops=crops: reference(empty(batch * crops, grid[0] * grid[1], source))
        for grid, crops in GRIDS.items()
    ]
    assert priced(built.operators(flow(GRIDS, batch))) == counted(*runs)
    assert built.parameters(hidden) == stored(reference) + positions * hidden


@pytest.mark.parametrize("crops", [1, 5])
def test_idefics2_equals_transformers(crops: int) -> None:
    from transformers import Idefics2Config
    from transformers.models.idefics2.modeling_idefics2 import Idefics2Connector

    config = Idefics2Config(
        vision_config={"hidden_size": 1152},
        text_config={"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336},
        attn_implementation="eager",
    )
    module = on_meta(lambda: Idefics2Connector(config))

    def run() -> None:  # its forward, without the mask, whose values meta tensors lack
        context = module.modality_projection(empty(crops, 48 * 70, 1152))
        latents = empty(crops, 64, 4096)
        for layer in module.perceiver_resampler.layers:
            latents = layer(latents, context)

    assert priced(IDEFICS2.operators(flow({(48, 70): crops}))) == counted(run)
    assert IDEFICS2.parameters(4096) == stored(module)


@pytest.mark.parametrize("crops", [1, 4])
def test_a_flamingo_perceiver_equals_torch(crops: int) -> None:
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of_media, self.of_latents, self.of_ffn = (nn.LayerNorm(1024) for _ in range(3))
            self.query = nn.Linear(1024, 8 * 64, bias=False)
            self.key_value = nn.Linear(1024, 2 * 8 * 64, bias=False)
            self.output = nn.Linear(8 * 64, 1024, bias=False)
            self.up, self.down = (nn.Linear(*s, bias=False) for s in ((1024, 4096), (4096, 1024)))

        def forward(self, media: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
            latents = self.of_latents(latents)
            both = torch.cat([self.of_media(media), latents], dim=1)
            key, value = self.key_value(both).chunk(2, dim=-1)
            split = [
                each.unflatten(-1, (8, 64)).transpose(1, 2).flatten(0, 1)
                for each in (self.query(latents), key, value)
            ]
            found = torch.bmm(torch.bmm(split[0], split[1].transpose(1, 2)), split[2])
            found = found.unflatten(0, (-1, 8)).transpose(1, 2).flatten(2)
            return self.down(self.up(self.of_ffn(self.output(found))))

    layers = on_meta(lambda: nn.ModuleList([Layer() for _ in range(6)]))

    def run() -> None:
        latents = empty(crops, 64, 1024)
        for layer in layers:
            latents = layer(empty(crops, 256, 1024), latents)

    assert priced(OPENFLAMINGO.operators(flow({(16, 16): crops}))) == counted(run)
    # the latents, and the last norm
    assert OPENFLAMINGO.parameters(2048) == stored(layers) + 64 * 1024 + 2 * 1024


def test_flamingo_has_the_published_194_million() -> None:
    # Flamingo, table of architectures: 6 layers of 1536, 16 heads of 128, 194 M parameters.
    # 6·(4·1536·2048 + 2·1536·6144 + 3·2·1536) + 64·1536 + 2·1536 = 188,900,352; the projection of
    # NFNet-F6's 3,072 features, 3072·1536 = 4,718,592, is inferred: nothing else comes to 194 M.
    (stage,) = OPENFLAMINGO.stages
    attention = {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128}
    flamingo = connector(
        linear(3072, 1536),
        {
            **dict(stage),
            "hidden_size": 1536,
            "attention": {**attention, **PERCEIVER_ATTENTION},
            "feed_forward": {"intermediate_size": 6144, "gated": False, "bias": False},
        },
    )
    assert flamingo.parameters(8192) == 188_900_352 + 4_718_592 == 193_618_944


def test_a_crop_becomes_as_many_tokens_as_queries() -> None:
    assert QWEN_VL.connected((32, 32)) == QWEN_VL.connected((3, 5)) == (1, 256)
    assert not QWEN_VL.per_token
    assert QWEN_VL.flows(flow(GRIDS, batch=2))[-1].tokens == 2 * 3 * 256


def test_widths() -> None:
    (_, stage, *_) = QWEN_VL.stages
    assert stage.leaving(4096) == 4096
    with pytest.raises(ValueError, match="takes 4096 features but gets 1664"):
        stage.leaving(1664)
    narrow = resampler(1024, 64, 8, 64)
    narrow["attention"] = {**narrow["attention"], "source_size": 768}
    (stage,) = connector(narrow).stages
    assert stage.leaving(768) == 1024
    with pytest.raises(ValueError, match="takes 768 features but gets 1024"):
        stage.leaving(1024)


def test_keys_of_two_widths_are_refused() -> None:
    wrong = resampler(1024, 64, 8, 64, latents_are_keys=True)
    wrong["attention"] = {**wrong["attention"], "source_size": 768}
    with pytest.raises(InvalidInput, match=r"latents_are_keys needs attention\.source_size 1024"):
        connector(wrong)


def test_words() -> None:
    assert IDEFICS2.stages[1].text == (
        "resampler: 64 queries of 4096, 3 layers, 16 heads of 96, keys of the crop and queries"
    )
    assert QWEN_VL.stages[1].text == (
        "resampler: 256 queries of 4096, 1 layer, 32 heads of 128, keys of the crop"
    )
