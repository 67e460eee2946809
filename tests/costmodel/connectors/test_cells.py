"""Attention inside cells against torch on the meta device and recorded counts."""

from typing import Any

import pytest
from counted_modules import counted, empty, on_meta, priced, stored
from vlm_tokencost.costmodel import InvalidInput, evaluate
from vlm_tokencost.costmodel.architecture import Connector
from vlm_tokencost.costmodel.connectors import Flow
from vlm_tokencost.presets import load_model


def connector(*stages: dict[str, Any]) -> Connector:
    return Connector(name="under test", stages=stages, source=["test"])


def linear(c_in: int, c_out: int) -> dict[str, Any]:
    return {"kind": "linear", "in_features": c_in, "out_features": c_out, "bias": True}


def flow(grids: dict[tuple[int, int], int], batch: int = 1) -> Flow:
    return Flow(grids=grids, batch=batch, arranged=0, text_tokens=7)


POOL = {
    "kind": "attention-pool",
    "size": 2,
    "in_features": 2048,
    "out_features": 1024,
    "num_attention_heads": 16,
    "head_dim": 64,
    "bias": True,
    "padding_embeddings": 2,
}
MOLMO = connector(
    POOL,
    {
        "kind": "gated",
        "in_features": 1024,
        "intermediate_size": 18944,
        "out_features": 3584,
        "bias": False,
    },
)


def token_packer(scale: int) -> Connector:
    packer = {
        "kind": "token-packer",
        "scale": scale,
        "query_features": 1024,
        "source_features": 4096,
        "hidden_size": 1024,
        "num_attention_heads": 8,
    }
    return connector(packer, linear(1024, 4096), linear(4096, 4096))


#: ConvNeXt-L's four maps concatenated: 192 + 384 + 768 + 1536 = 2,880 features.
MINING = {"kind": "patch-mining", "hidden_size": 1024, "source_features": 2880, "cell_size": 8}
MINI_GEMINI = connector(MINING, linear(1024, 4096), linear(4096, 4096))


def test_molmo_parameters() -> None:
    # 3·(2048·1024 + 1024) + 1024² + 1024 = 7,344,128 of the attention, 2·1024·18944 + 18944·3584
    # = 106,692,608 of the MLP, and 2·2048 = 4,096 of the padding: parts of 8,021,025,280.
    assert MOLMO.parameters(3584) == 114_036_736 + 4_096
    assert MOLMO.stages[0].parameters() == 7_344_128 + 4_096


def test_token_packer_parameters() -> None:
    # 1024² + 2·(4096·1024 + 1024 + 1024² + 1024) + 3·2·1024 + 4·(1024² + 1024)
    # + 1024·4096 + 4096 + 4096² + 4096
    # = 1,048,576 + 10,489,856 + 6,144 + 4,198,400 + 20,979,712
    assert token_packer(2).parameters(4096) == 36_722_688


def test_patch_mining_parameters() -> None:
    # 1024² + 1024 + 2·1024 = 1,051,648, and twice 2880·1024 + 1024 + 2·2880 = 2,955,904
    assert MINI_GEMINI.stages[0].parameters() == 1_051_648 + 2 * 2_955_904


@pytest.mark.parametrize("batch", [1, 2])
def test_attention_pooling_equals_torch(batch: int) -> None:
    import torch
    from torch import nn

    class Reference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(2048, 16 * 64) for _ in range(3))
            self.output = nn.Linear(16 * 64, 1024)

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            split = [
                project(tokens).unflatten(-1, (16, 64)).transpose(1, 2).flatten(0, 1)
                for project, tokens in (
                    (self.query, windows.mean(1, keepdim=True)),
                    (self.key, windows),
                    (self.value, windows),
                )
            ]
            found = torch.bmm(torch.bmm(split[0], split[1].transpose(1, 2)), split[2])
            return self.output(found.unflatten(0, (-1, 16)).transpose(1, 2).flatten(2))

    reference = on_meta(Reference)
    crops = {(24, 24): 4, (9, 5): 1}  # 12·12 windows each; 5·3 windows, the last ones padded
    windows = batch * (4 * 12 * 12 + 5 * 3)
    count = counted(lambda: reference(empty(windows, 4, 2048)))
    pool = connector(POOL)
    assert priced(pool.operators(flow(crops, batch))) == count
    assert pool.parameters(1024) == stored(reference) + 2 * 2048
    assert pool.flows(flow(crops, batch))[-1].tokens == windows


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("crops", [1, 3])
def test_token_packer_equals_torch(scale: int, crops: int) -> None:
    import torch
    from torch import nn

    side = 24 // scale

    class Reference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(1024, 1024, bias=False)
            self.key, self.value = (
                nn.Sequential(nn.Linear(4096, 1024), nn.GELU(), nn.Linear(1024, 1024))
                for _ in range(2)
            )
            self.norms = nn.ModuleList([nn.LayerNorm(1024) for _ in range(3)])
            self.attention = nn.MultiheadAttention(1024, 8, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 4096))

        def cells(self, tokens: torch.Tensor, size: int) -> torch.Tensor:
            cut = tokens.unflatten(1, (side, size, side, size)).transpose(2, 3)
            return cut.reshape(-1, size * size, 1024)

        def forward(self, last: torch.Tensor, several: torch.Tensor) -> torch.Tensor:
            image = last.transpose(1, 2).unflatten(-1, (24, 24))
            small = nn.functional.interpolate(image, size=(side, side), mode="bilinear")
            query = self.norms[0](self.query(small.flatten(2).transpose(1, 2)))
            key, value = self.norms[1](self.key(several)), self.norms[2](self.value(several))
            parts = self.cells(query, 1), self.cells(key, scale), self.cells(value, scale)
            return self.mlp(self.attention(*parts)[0])

    reference, built = on_meta(Reference), token_packer(scale)
    count = counted(lambda: reference(empty(crops, 576, 1024), empty(crops, 576, 4096)))
    assert priced(built.operators(flow({(24, 24): crops}))) == count
    assert built.parameters(4096) == stored(reference)
    assert built.connected((24, 24)) == (side, side)  # 144, 64 or 36 tokens


@pytest.mark.parametrize(("crops", "cell"), [(1, 8), (5, 8), (1, 4)])
def test_patch_mining_equals_torch(crops: int, cell: int) -> None:
    from torch import nn

    query, key, value = (
        on_meta(lambda width=width: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1024)))
        for width in (1024, 2880, 2880)
    )

    def run() -> None:
        cells = empty(crops, 576, cell * cell, 2880)
        asked = query(empty(crops, 576, 1024))[:, :, None]
        (asked @ key(cells).transpose(-1, -2)).softmax(-1) @ value(cells)

    built = connector({**MINING, "cell_size": cell})
    # The stage needs no grids of the second encoder: every token has its cells.
    assert priced(built.operators(flow({(24, 24): crops}))) == counted(run)
    assert built.parameters(4096) == stored(query, key, value)


def test_mini_gemini_looks_at_all_of_its_second_map() -> None:
    # 768/4 = 192 positions per side: 576 tokens of 8·8 cells are 192² of them.
    (_, key, *_) = MINI_GEMINI.operators(flow({(24, 24): 1}))
    assert key.macs == 192 * 192 * 2880 * 1024


@pytest.mark.parametrize(
    ("built", "takes", "leaves", "text"),
    [
        (MOLMO, 2048, 1024, "takes 2048 features but gets 1"),
        (token_packer(2), 5120, 1024, r"takes 1024 \+ 4096 = 5120 features but gets 1"),
        (MINI_GEMINI, 1024, 1024, "takes 1024 features but gets 1"),
    ],
    ids=["molmo", "token-packer", "mini-gemini"],
)
def test_widths(built: Connector, takes: int, leaves: int, text: str) -> None:
    stage = built.stages[0]
    assert stage.leaving(takes) == leaves
    assert not stage.per_token
    with pytest.raises(ValueError, match=text):
        stage.leaving(1)


def test_merge_sizes() -> None:
    assert [each.merge_size for each in (MOLMO, token_packer(3), MINI_GEMINI)] == [2, 3, 1]


def test_heads_that_do_not_divide_are_refused() -> None:
    packer = {**dict(token_packer(2).stages[0]), "num_attention_heads": 7}
    with pytest.raises(InvalidInput, match="7 does not divide hidden_size 1024"):
        connector(packer)


def test_mini_geminis_connector_mines_64_positions_for_each_token() -> None:
    per_token = 1024**2 + 2 * 64 * 2880 * 1024 + 2 * 64 * 1024  # query, keys and values, attention
    per_token += 1024 * 4096 + 4096**2
    for model_id, tokens in (("mini-gemini-7b", 576), ("mini-gemini-7b-hd", 5 * 576)):
        assert (
            evaluate(load_model(model_id)).bill().by_component()["connector"]
            == 2 * tokens * per_token
        )
