"""Encoders of models with code of their own against torch modules on the meta device.

The modules are built from what the models' code does; torch counts what they execute and store.
"""

from typing import Any

from counted_modules import counted, empty, on_meta, priced, stored
from vlm_tokencost.costmodel import Workload, lower, plan
from vlm_tokencost.costmodel.parameters import layer_parameters
from vlm_tokencost.costmodel.workload import Counting
from vlm_tokencost.presets import load_model


def block(hidden: int, heads: int, intermediate: int, adapters: int = 0) -> Any:
    """Return a pre-norm block; each of its `adapters` is one low-rank path beside three places."""
    import torch
    from torch import nn

    class LowRank(nn.Module):
        def __init__(self, c_out: int, rank: int) -> None:
            super().__init__()
            self.down = nn.Linear(hidden, rank, bias=False)
            self.up = nn.Linear(rank, c_out, bias=False)
            self.scale = nn.Parameter(torch.empty(1))

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return self.up(self.down(states)) * self.scale

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(2)])
            self.into, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
            self.up, self.down = nn.Linear(hidden, intermediate), nn.Linear(intermediate, hidden)
            self.low_rank = nn.ModuleList(
                [
                    nn.ModuleList([LowRank(3 * hidden, 16), LowRank(hidden, 16)])
                    for _ in range(adapters)
                ]
            )
            self.beside = nn.ModuleList([LowRank(hidden, 32) for _ in range(adapters)])

        def forward(self, states: torch.Tensor, adapter: int | None = None) -> torch.Tensor:
            crops, tokens, _ = states.shape
            normed = self.norms[0](states)
            mixed = self.into(normed)
            if adapter is not None:
                mixed = mixed + self.low_rank[adapter][0](normed)
            query, key, value = (
                part.reshape(crops, tokens, heads, -1).transpose(1, 2).flatten(0, 1)
                for part in mixed.chunk(3, dim=-1)
            )
            weights = torch.bmm(query, key.transpose(1, 2)).softmax(dim=-1)
            read = torch.bmm(weights, value).unflatten(0, (crops, heads)).transpose(1, 2)
            context = read.flatten(2)
            attended = self.out(context)
            if adapter is not None:
                attended = attended + self.low_rank[adapter][1](context)
            states = states + attended
            left = states + self.down(self.up(self.norms[1](states)))
            return left if adapter is None else left + self.beside[adapter](states)

    return on_meta(Block)


def component(model: Any, workload: Workload, name: str) -> list[Any]:
    """Return the operators of a component."""
    operators = lower(model, plan(model, workload), Counting())
    return [operator for operator in operators if operator.component == name]


def test_monkey_s_blocks_with_and_without_adapters():
    monkey, layer = load_model("monkey"), block(1664, 16, 8192, adapters=4)
    crop = empty(1, 1024, 1664)
    once = counted(*[lambda i=i: layer(crop, i) for i in (0, 1, 2, 3, None)])
    in_layers = [op for op in component(monkey, Workload(), "vision") if op.layers]
    assert priced(in_layers) == {kind: 48 * macs for kind, macs in once.items()}
    assert layer_parameters(monkey)["vision", 47] == stored(layer)


def test_minicpm_s_slices_padded_to_the_longest():
    import torch
    from torch import nn

    pad = nn.utils.rnn.pad_sequence
    # columns of pixels, 14 for each patch of 14×14: 1,044 patches of the overview, 1,020 a slice
    pixels = pad([empty(14 * n, 3 * 14) for n in (1044, 1020, 1020, 1020)], batch_first=True)
    images = pixels.transpose(1, 2).reshape(4, 3, 14, -1)
    convolution = on_meta(lambda: nn.Conv2d(3, 1152, 14, stride=14))
    layer = block(1152, 16, 4304)
    asked = Workload(images=[(300, 1000)])
    operators = component(load_model("minicpm-v-2.6"), asked, "vision")
    found = counted(lambda: convolution(images))
    states = convolution(images).flatten(2).transpose(1, 2)
    for kind, macs in counted(lambda: layer(states)).items():
        found[kind] += 27 * macs
    assert priced(operators) == found

    into = on_meta(lambda: nn.Linear(1152, 3584, bias=False))
    attention = on_meta(lambda: nn.MultiheadAttention(3584, 28, batch_first=True))
    out = on_meta(lambda: nn.Linear(3584, 3584, bias=False))
    hidden = torch.zeros(4, 1044, dtype=torch.bool, device="meta")

    def resample() -> None:
        keys = into(states)
        read, _ = attention(empty(4, 64, 3584), keys + 0, keys, key_padding_mask=hidden)
        out(read)

    resampled = component(load_model("minicpm-v-2.6"), asked, "connector")
    assert priced(resampled) == counted(resample)
