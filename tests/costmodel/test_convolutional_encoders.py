"""Convolutional towers against torch on the meta device, transformers and timm's recorded counts.

timm is no dependency: what timm 1.0.31 has and runs (fastvit_mci3 with inference_mode, dm_nfnet_f6,
convnext_large, without their classifiers) was counted once, and is written here.
"""

from collections import Counter
from typing import Any

import pytest
from counted_modules import counted, empty, on_meta, priced, stored
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.architecture.blocks import Place
from vlm_tokencost.costmodel.architecture.vision import TOWERS
from vlm_tokencost.costmodel.operators import Operator

Table = dict[str, Any]


def row(name: str, out: int, kernel: int = 1, stride: int = 1, **more: Any) -> Table:
    fields = {"name": name, "out_features": out, "kernel_size": kernel, "stride": stride}
    return {**fields, "bias": True, **more}


def depthwise(name: str, out: int, kernel: int, stride: int = 1, **more: Any) -> Table:
    return row(name, out, kernel, stride, group_features=1, **more)


NORM = {"kind": "norm"}


def fastvithd() -> Table:
    def stage(index: int, depth: int, width: int) -> Table:
        attends = index >= 3
        entry = [depthwise("depthwise", width, 7, 2), row("pointwise", width)] if index else []
        heads = {"num_attention_heads": width // 32, "num_key_value_heads": width // 32}
        biases = {"qkv_bias": False, "output_bias": True}
        attention = {"kind": "attention", "attention": {**heads, "head_dim": 32, **biases}}
        mixer = [NORM, attention] if attends else [depthwise("mixer", width, 3)]
        mlp = [
            depthwise("mlp depthwise", width, 7, bias=False),
            NORM,
            row("mlp up", 4 * width),
            row("mlp down", width),
        ]
        return {
            "entry": entry + ([depthwise("position", width, 7)] if attends else []),
            "depth": depth,
            "block": {"scales": 2 if attends else 1, "rows": [*mixer, *mlp]},
        }

    shapes = zip((2, 12, 24, 4, 2), (96, 192, 384, 768, 1536), strict=True)
    return {
        "kind": "convolutional",
        "name": "FastViTHD",
        "model_type": "timm_wrapper",
        "stem": [row("0", 96, 3, 2), depthwise("1", 96, 3, 2), row("2", 96)],
        "stages": [stage(index, *shape) for index, shape in enumerate(shapes)],
        "head": [depthwise("head", 3072, 3), {"kind": "excitation", "reduced_features": 192}],
        "source": ["timm 1.0.31"],
    }


def convnext(**more: Any) -> Table:
    def stage(index: int, depth: int, width: int) -> Table:
        rows = [
            depthwise("depthwise", width, 7),
            NORM,
            row("up", 4 * width, linear=True),
            row("down", width, linear=True),
        ]
        entry = [NORM, row("downsample", width, 2, 2)] if index else []
        return {"entry": entry, "depth": depth, "block": {"scales": 1, "rows": rows}}

    shapes = zip((3, 3, 27, 3), (192, 384, 768, 1536), strict=True)
    return {
        "kind": "convolutional",
        "name": "ConvNeXt-L",
        "model_type": "convnext",
        "stem": [row("stem", 192, 4, 4), NORM],
        "stages": [stage(index, *shape) for index, shape in enumerate(shapes)],
        "source": ["transformers 5.23.0 modeling_convnext.py"],
        **more,
    }


def nfnet_f6() -> Table:
    def block(width: int, stride: int) -> Table:
        half = width // 2
        rows = [
            row("1", half),
            row("2", half, 3, stride, group_features=128),
            row("2b", half, 3, group_features=128),
            row("3", width),
        ]
        excitation = {"kind": "excitation", "reduced_features": half}
        return {"extra_parameters": 1, "rows": [*_gains(rows), excitation]}

    def stage(depth: int, width: int, stride: int) -> Table:
        (shortcut,) = _gains([row("shortcut", width)])
        first = {**block(width, stride), "shortcut": shortcut}
        return {"depth": depth, "first_block": first, "block": block(width, 1)}

    shapes = ((7, 256, 1), (14, 512, 2), (42, 1536, 2), (21, 1536, 2))
    stem = [row("1", 16, 3, 2), row("2", 32, 3), row("3", 64, 3), row("4", 128, 3, 2)]
    return {
        "kind": "convolutional",
        "name": "NFNet-F6",
        "model_type": "dm_nfnet_f6",
        "stem": _gains(stem),
        "stages": [stage(*shape) for shape in shapes],
        "head": _gains([row("final", 3072)]),
        "source": ["timm 1.0.31"],
    }


def _gains(rows: list[Table]) -> list[Table]:
    return [{**each, "gain": True} for each in rows]


def build(table: Table) -> Any:
    return TOWERS.build(table)


def operators(
    tower: Any, crops: dict[tuple[int, int], int], batch: int = 1, first: int = 0
) -> list[Operator]:
    place = Place("vision", ())
    return [*tower.lowered(crops, batch, place, tower.num_hidden_layers, first)]


def parameters(tower: Any) -> int:
    layers = range(tower.num_hidden_layers)
    return int(tower.outside_parameters() + sum(map(tower.layer_parameters, layers)))


def by_section(tower: Any, crops: dict[tuple[int, int], int]) -> Counter[str]:
    """MACs of stem, stages (with what stands before them) and head."""
    found: Counter[str] = Counter()
    for operator in operators(tower, crops):
        words = operator.name.split()
        where = words[0] if words[0] in ("stem", "head") else " ".join(words[:2])
        found[where] += operator.macs * max(1, len(operator.layers))
    return found


#: Blocks of width c: depthwise 3×3 with biases or a norm and attention of 4·c² + c, depthwise 7×7
#: and its norm, an MLP of 8·c² + 5·c, one or two scales of c. Stages 1 to 4 begin with a depthwise
#: 7×7 and a pointwise convolution, the last two with another depthwise 7×7.
FASTVITHD_BLOCKS = [
    (2, 80_160),  # 8·96² + (10 + 49 + 2 + 5 + 1)·96
    (12, 307_776),  # 8·192² + 67·192
    (24, 1_205_376),  # 8·384² + 67·384
    (4, 7_124_736),  # 12·768² + (2 + 1 + 49 + 2 + 5 + 2)·768
    (2, 28_405_248),  # 12·1536² + 61·1536
]
FASTVITHD_OUTSIDE = [
    27 * 96 + 96 + 9 * 96 + 96 + 96 * 96 + 96,  # stem: 12,960
    *(width * width + 51 * width for width in (192, 384, 768, 1536)),
    *(50 * width for width in (768, 1536)),
    9 * 3072 + 3072 + 2 * 3072 * 192 + 192 + 3072,  # head: 1,213,632
]


def test_fastvithd_has_the_parameters_of_its_layer_table() -> None:
    tower = build(fastvithd())
    table = [count for depth, count in FASTVITHD_BLOCKS for _ in range(depth)]
    assert [tower.layer_parameters(layer) for layer in range(44)] == table
    assert tower.outside_parameters() == sum(FASTVITHD_OUTSIDE)
    assert parameters(tower) == 122_714_208  # timm's fastvit_mci3 and its state dict


def test_fastvithd_runs_what_timm_runs() -> None:
    # At 1024×1024, section by section; the sum is FlopCounterMode's 486,707,822,592 FLOPs.
    assert by_section(build(fastvithd()), {(16, 16): 1}) == {
        "stem": 1_340_080_128,  # 512²·27·96 + 256²·(9·96 + 96²)
        "stage 0": 10_393_485_312,  # 2·256²·(58·96 + 8·96²)
        "stage 1": 60_929_605_632,
        "stage 2": 118_834_593_792,
        "stage 3": 36_268_670_976,
        "stage 4": 15_579_217_920,
        "head": 8_257_536,  # 256·9·3072 + 2·3072·192
    }


@pytest.mark.parametrize(("side", "crops"), [(1024, 1), (512, 3)])
def test_fastvithd_equals_torch(side: int, crops: int) -> None:
    import torch
    from torch import nn

    def around(c_in: int, c_out: int, kernel: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
        return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=c_in, bias=bias)

    class Attention(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.output = nn.Linear(width, width)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            tokens = self.qkv(image.flatten(2).transpose(1, 2)).unflatten(-1, (3, -1, 32))
            query, key, value = tokens.permute(2, 0, 3, 1, 4).flatten(1, 2)
            found = torch.bmm(torch.bmm(query, key.transpose(1, 2)), value)
            found = self.output(found.unflatten(0, (len(image), -1)).transpose(1, 2).flatten(2))
            return found.transpose(1, 2).unflatten(-1, image.shape[2:])

    class Block(nn.Module):
        def __init__(self, width: int, attends: bool) -> None:
            super().__init__()
            self.scales = nn.Parameter(torch.empty(2 if attends else 1, width))
            attention = [nn.BatchNorm2d(width), Attention(width)]
            self.rows = nn.Sequential(
                *(attention if attends else [around(width, width, 3)]),
                around(width, width, 7, bias=False),
                nn.BatchNorm2d(width),
                nn.Conv2d(width, 4 * width, 1),
                nn.Conv2d(4 * width, width, 1),
            )

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.rows(image)

    class Excitation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.excite = nn.Conv2d(3072, 192, 1), nn.Conv2d(192, 3072, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image * self.excite(self.squeeze(image.mean((2, 3), keepdim=True)))

    def module() -> nn.Module:
        rows: list[nn.Module] = [
            nn.Conv2d(3, 96, 3, 2, 1),
            around(96, 96, 3, 2),
            nn.Conv2d(96, 96, 1),
        ]
        before = 96
        for depth, width in ((2, 96), (12, 192), (24, 384), (4, 768), (2, 1536)):
            if width > before:
                rows += [around(before, width, 7, 2), nn.Conv2d(width, width, 1)]
            if width >= 768:
                rows.append(around(width, width, 7))
            rows += [Block(width, width >= 768) for _ in range(depth)]
            before = width
        return nn.Sequential(*rows, around(1536, 3072, 3), Excitation())

    reference, tower, grid = on_meta(module), build(fastvithd()), (side // 64, side // 64)
    count = counted(lambda: reference(empty(crops, 3, side, side)))
    assert priced(operators(tower, {grid: crops})) == count
    assert parameters(tower) == stored(reference)


@pytest.mark.parametrize(("side", "crops"), [(320, 1), (768, 2)])
def test_convnext_equals_transformers(side: int, crops: int) -> None:
    from transformers import ConvNextConfig, ConvNextModel

    config = ConvNextConfig(hidden_sizes=[192, 384, 768, 1536], depths=[3, 3, 27, 3])
    module, tower = on_meta(lambda: ConvNextModel(config)), build(convnext())
    grid = (side // 32, side // 32)
    count = counted(lambda: module(empty(crops, 3, side, side)))
    assert priced(operators(tower, {grid: crops})) == count
    # Behind the pooled map transformers has a norm of 2·1536, which Mini-Gemini drops with the
    # head: timm's convnext_large without classifier has 196,230,336 with it.
    assert parameters(tower) == stored(module) - 3_072 == 196_230_336 - 3_072


def test_nfnet_has_and_runs_what_timm_has_and_runs() -> None:
    tower = build(nfnet_f6())
    layers, outside = range(84), 97_680 + 4_724_736  # stem and last convolution
    stages = [range(7), range(7, 21), range(21, 63), range(63, 84)]
    assert [sum(map(tower.layer_parameters, stage)) for stage in stages] == [
        3_010_439,
        15_710_734,
        272_921_130,
        138_821_397,
    ]
    assert sum(map(tower.layer_parameters, layers)) + outside == parameters(tower) == 435_286_116
    assert by_section(tower, {(10, 10): 1}) == {  # 320×320
        "stem": 1_072_742_400,
        "stage 0": 16_253_386_752,
        "stage 1": 19_507_183_616,
        "stage 2": 69_934_252_032,
        "stage 3": 9_309_782_016,
        "head": 471_859_200,  # 100·1536·3072
    }


def test_an_nfnet_block_by_hand() -> None:
    tower = build(nfnet_f6())
    # Block 8, the second of width 512: 512·256 + 2·9·128·256 + 256·512 weights, (3·256 + 512)
    # biases and gains each, 2·512·256 + 256 + 512 of the excitation and one gain.
    weights = 131_072 + 589_824 + 131_072
    assert tower.layer_parameters(8) == weights + 2 * 1_280 + 262_144 + 768 + 1
    # Block 7, the first: 256 features enter it and the shortcut, 256·512 + 2·512.
    first = weights - 65_536 + 2 * 1_280 + 262_144 + 768 + 1 + 131_072 + 1_024
    assert tower.layer_parameters(7) == first


def test_what_the_connector_gets() -> None:
    last = build(fastvithd())
    assert (last.features, last.hidden_size, last.patch_embedding.patch_size) == (3072, 3072, 64)
    assert last.output_grid((16, 12)) == (16, 12)
    maps = build(convnext(pyramid=True))
    # 192 + 384 + 768 + 1536 features on the first map: 8 positions where the last has one.
    assert (maps.features, maps.patch_embedding.patch_size) == (2880, 32)
    assert maps.output_grid((24, 24)) == (192, 192)
    assert operators(maps, {(24, 24): 1}) == operators(build(convnext()), {(24, 24): 1})


def test_tokens_and_pairs_of_each_block() -> None:
    tower = build(fastvithd())
    assert (tower.num_hidden_layers, tower.contributing_layers) == (44, 44)
    crops = {(16, 16): 2, (4, 8): 1}
    positions = 2 * 16 * 16 + 4 * 8  # of the last maps; each map before has four times as many
    sizes = [positions * 4**finer for finer in (4, 3, 2, 1, 0)]
    depths = (2, 12, 24, 4, 2)
    assert tower.layer_tokens(crops) == tuple(
        size for size, depth in zip(sizes, depths, strict=True) for _ in range(depth)
    )
    pairs = 2 * 256**2 + 32**2
    assert tower.layer_pairs(crops) == (0,) * 38 + (16 * pairs,) * 4 + (pairs,) * 2
    assert build(convnext()).layer_pairs(crops) == (0,) * 36


def test_attention_is_its_own_part_and_layers_are_numbered() -> None:
    tower = build(fastvithd())
    found = operators(tower, {(16, 16): 1}, first=24)  # behind the layers of a first encoder
    attention = [each for each in found if each.part == "attention scores"]
    assert [each.layers for each in attention] == [(62, 63, 64, 65), (66, 67)]
    assert {layer for each in found for layer in each.layers} == set(range(24, 68))
    outside = {each.name: each.part for each in found if not each.layers}
    assert outside["stem 0"] == outside["stage 4 position"] == "patch embedding"
    assert outside["head squeeze"] == "feed-forward"
    assert tower.attention.num_attention_heads == 48
    assert build(convnext()).attention is None


def test_batch_and_crops_multiply() -> None:
    tower = build(fastvithd())
    once = priced(operators(tower, {(16, 16): 1}))
    assert priced(operators(tower, {(16, 16): 3}, batch=2)) == {
        kind: 6 * macs for kind, macs in once.items()
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"stem": [row("stem", 192, 4, 4, group_features=2)]},
            "stem: stem: group_features 2 makes no groups of 3 → 192 features",
        ),
        (
            {"stages": [{"depth": 2, "block": {"rows": [row("wider", 384)]}}]},
            r"stages\.0: the map that leaves its block cannot enter it",
        ),
        (
            {"stages": [{"depth": 2, "block": {"rows": [row("halved", 192, 3, 2)]}}]},
            r"stages\.0: the map that leaves its block cannot enter it",
        ),
        (
            {"stages": [{"depth": 1, "block": {"rows": [NORM], "shortcut": row("around", 96)}}]},
            r"stages\.0: the shortcut ends in 96 features, the rows in 192",
        ),
        ({"stem": [row("stem", 192, 4, linear=True)]}, "linear stem with a kernel"),
        ({"pyramid": True, "head": [NORM]}, "pyramid takes the maps of the stages"),
        ({"stem": [{"kind": "pool"}]}, "pool is not a choice; choose from attention, conv"),
        ({"stages": []}, r"^stages \[\] "),  # the field and what was given
    ],
    ids=["groups", "wider", "halved", "shortcut", "linear", "pyramid", "kind", "no stages"],
)
def test_rows_that_do_not_fit_are_refused(change: Table, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        build(convnext(**change))
