"""Real forward passes at full size on the meta device, counted; nothing of the cost model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Literal, NamedTuple

from vlm_tokencost.costmodel import Bill
from vlm_tokencost.validation.counters import count_by_module
from vlm_tokencost.validation.forward import EXPERTS, ROTARY, Driver, Place, component_of
from vlm_tokencost.validation.prompt import Request
from vlm_tokencost.validation.reduction import Reduction

TEXT = 64
Counts = Mapping[Place | None, Mapping[str, int]]
Grid = tuple[int, int]
Logits = Literal["last", "all"]


class Case(NamedTuple):
    """Images of one prompt, and the patch grids that transformers makes of each."""

    model: str
    images: tuple[tuple[int, int], ...]
    crops: tuple[tuple[Grid, ...], ...]

    @property
    def crop_count(self) -> int:
        """Crops that pass the encoder."""
        return sum(map(len, self.crops))

    def __str__(self) -> str:
        return "-".join([self.model, *(f"{height}x{width}" for height, width in self.images)])


class Run:
    """A prefill on the meta device and the decode forwards after it, counted.

    Attributes:
        prefill: FLOPs by place and operator.
        visual: Visual tokens that entered the LLM.
        lengths: Tokens that each decoder layer processed.
    """

    def __init__(
        self, driver: Driver, request: Request, reduction: Reduction | None, logits: Logits
    ) -> None:
        """Run and count the prefill."""
        import torch

        self._driver, self._decodes, done = driver, [], []  # type: ignore[var-annotated]
        self._ids = torch.zeros(len(request.text), 1, dtype=torch.int64)
        self.prefill = self._counted(
            lambda: done.append(driver.prefill(request, reduction, logits))
        )
        (self._prefilled,) = done
        self.visual: int = self._prefilled.entered.visual
        self.lengths: list[int] = self._prefilled.lengths

    def decode(self, step: int) -> Counts:
        """Return the count of a decode forward; the first is 1."""
        while len(self._decodes) < step:
            run = partial(self._driver.decode, self._prefilled, self._ids)
            self._decodes.append(self._counted(run))
        return self._decodes[step - 1]

    def _counted(self, run: Callable[[], object]) -> Counts:
        counts = dict(count_by_module(run, self._driver.owners()))
        counts.pop(ROTARY, None)
        return counts


CLIP, SIGLIP, TILE = (24, 24), (27, 27), (32, 32)  # 336/14, ⌊384/14⌋, 448/14 patches per side
LLAVA = Case("llava-1.5-7b", ((336, 336),), ((CLIP,),))
INTERNVL = Case("internvl3-8b", ((448, 448),), ((TILE,),))
NEXT = Case("llava-next-mistral-7b", ((672, 672),), ((CLIP,) * 5,))  # base + 2×2
ONEVISION = Case("llava-onevision-7b", ((384, 384),), ((SIGLIP,) * 2,))  # base + 1×1
QWEN2, QWEN2_5 = (
    Case(model, ((448, 644),), (((32, 46),),)) for model in ("qwen2-vl-7b", "qwen2.5-vl-7b")
)
#: One of each family.
FAMILIES = [LLAVA, NEXT, ONEVISION, INTERNVL, QWEN2, QWEN2_5]
QWEN3_MOE = Case("qwen3-vl-30b-a3b", ((512, 640),), (((32, 40),),))
SMOLVLM = Case("smolvlm2-256m", ((2048, 1500),), (((32, 32),) * 13,))  # 4×3 and the whole
PALIGEMMA, PALIGEMMA_2 = (
    Case(model, ((224, 224),), (((16, 16),),))
    for model in ("paligemma-3b-224", "paligemma2-3b-224")
)
GEMMA_3 = Case("gemma3-4b", ((896, 896),), (((64, 64),),))
MLLAMA = Case("llama3.2-vision-11b", ((560, 1120),), (((40, 40),) * 4,))  # 1×2 tiles, padded


def staged(
    tokens: int, layers: int, *steps: tuple[int, int], selection: str | None = None
) -> Reduction:
    """Process `tokens` visual tokens, and from each (first layer, tokens) on so many."""
    visual = [tokens] * layers
    for first, left in steps:
        visual[first:] = [left] * (layers - first)
    return Reduction(visual=tuple(visual), entering=tokens, selection=selection)


#: What to take away from a case, by its visual tokens and the decoder's layers.
Reducing = Callable[[Case, int, int], Reduction]


def counter_of(driver_of: Callable[..., Driver]) -> Callable[..., Run]:
    """Return what runs and counts a case; the same run only once."""

    @cache
    def run(
        case: Case,
        reducing: Reducing | None = None,
        attention: Literal["eager", "sdpa"] = "eager",
        batch: int = 1,
        logits: Logits = "last",
    ) -> Run:
        driver = driver_of(case.model, attention)
        layers = len(driver.adapter.layers)
        reduction = reducing(case, run(case).visual, layers) if reducing else None
        request = driver.request(case.images, case.crops, TEXT, batch)
        return Run(driver, request, reduction, logits)

    return run


#: In layers, eager attention and nothing else is a batched product.
KINDS = {
    "aten.convolution": "convolution",
    "aten.bmm": "attention",
    "aten.mm": "linear",
    "aten.addmm": "linear",
}


def assert_equal(bill: Bill, *counts: Counts) -> None:
    """Compare by component, then by component, layer and kind of operator."""
    priced: Counter[Any] = Counter()
    for (component, layer, part), flops in bill.by_part().items():
        kinds = {
            "patch embedding": "convolution",
            "attention scores": "attention",
            "selection": "selection",
        }
        priced[(component, layer), kinds.get(part, "linear")] += flops
    # Selection is compared as a whole; torch batches a product whose input is a slice.
    whole = {
        ("selection", None): "selection",
        ("connector", None): "linear",
        ("head", None): "linear",
    }
    counted: Counter[Any] = Counter()
    components: Counter[Any] = Counter()
    for count in counts:
        for place, operators in count.items():
            component = place and component_of(place)
            for operator, flops in operators.items():
                kind = whole.get(place, KINDS[operator])
                if place and place[0] == EXPERTS:
                    kind = "linear"  # a batched product of one token and one expert each
                counted[place and (component, place[1]), kind] += flops
                components[component] += flops
    assert bill.by_component() == components
    assert priced == counted


def total(counts: Counts, *components: str) -> int:
    return sum(
        flops
        for place, operators in counts.items()
        for flops in operators.values()
        if place is not None and component_of(place) in components
    )
