"""The tokens of every layer: what a schedule lowers to, and all that is priced."""

from collections.abc import Hashable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from . import formulas
from .architecture.model import Model
from .primitives.activity import Activity
from .tokens.base import Size, VisualInput


class Layout(NamedTuple):
    """Where the decoder layers of a model have visual tokens, and what they cache.

    Attributes:
        in_sequence: Whether visual tokens are part of the layer's sequence.
        generates: Whether the layer runs for every generated token; an LLM encoder's do not.
        one_token: Whether a prefill hands the layer the start token alone.
        self_attention: Whether the layer has a cache of its own sequence.
        crosses: Whether the layer attends to visual tokens (or the LLM encoder's output) by
            cross-attention.
        crosses_text: Whether those keys include text and structural tokens.
        cross_cached: Whether their keys and values are cached.
        window: Tokens that attention reaches back, itself included; None is all of them.
    """

    in_sequence: bool
    generates: bool
    one_token: bool
    self_attention: bool
    crosses: bool
    crosses_text: bool
    cross_cached: bool
    window: int | None


def layouts(model: Model) -> tuple[Layout, ...]:
    """Return every decoder layer's layout."""
    decoder = model.decoder
    found: list[Layout] = []
    crosses = decoder.crosses
    for layer, block in enumerate(decoder.blocks):
        generates = layer >= decoder.encoder_layers
        one_token = bool(decoder.encoder_layers) and generates
        cross = block.cross_attention
        found.append(
            Layout(
                in_sequence=not (crosses or one_token),
                generates=generates,
                one_token=one_token,
                self_attention=block.attention is not None,
                crosses=cross is not None,
                crosses_text=cross is not None and one_token,
                cross_cached=cross is not None and cross.cached,
                window=decoder.window(layer),
            )
        )
    return tuple(found)


class TokenPlan(NamedTuple):
    """Tokens per sequence in every layer; multiply by `batch` for the whole run.

    Attributes:
        images: Sizes (height, width) of the images, or of the video's frames.
        frames: Frames of the video; 0 for images.
        visual_input: What the model's rule made of them.
        dense_visual_tokens: M before any reduction, as given or as derived.
        available_visual_tokens: Those that encoder and connector leave, before any compression.
        entering_visual_tokens: Visual tokens that enter decoder layer 0, after any merging in the
            encoder and any compression, before the first stage; ratios of stages refer to it.
        connector_grids: Token grids that reach the connector, and how many crops have each.
        connector_tokens: Tokens that leave the connector.
        arranged_tokens: Tokens of a connector stage that arranges them with learned separators; 0
            where nothing passes the connector.
        tower_positions: Patches over all crops, for each encoder.
        encoder_tokens: Tokens that attention processes in each encoder layer, over all crops,
            class tokens included.
        encoder_pairs: Query–key pairs of each encoder layer, summed over crops or windows.
        encoder_ffn: Tokens that the FFN processes in each encoder layer, over all crops.
        layout: Where decoder layers have visual tokens.
        visual: Visual tokens that each decoder layer processes, in its sequence or as keys.
        text_tokens, structural_tokens, batch: N, S and the number of equal sequences.
        query, key, ffn: Tokens that each decoder layer updates, projects to keys and values, feeds
            to its FFN.
        attended: Keys that its attention reads in a prefill: those projected, and a bank.
        pairs: Query–key pairs that it scores, before any causal accounting.
        uniform: Whether all present tokens do everything in every layer.
        cross: Keys of each layer's cross-attention; 0 without any.
        kv_stored, kv_read: Prefill tokens whose keys and values each layer keeps, and those that
            a decode forward reads.
        visual_stored, visual_read: The visual tokens among kv_stored and kv_read.
        cross_stored: Keys of cross-attention that each layer caches.
        cache, channels, bits: What the schedule says of them; None is the default of each.
        branches: Probability and plan of each way of a mixture, None where the model does not
            run; the plan's own counts are then expectations, rounded to the nearest.

    >>> from vlm_tokencost.presets import load_model
    >>> model = load_model("llava-1.5-7b")
    >>> from vlm_tokencost.costmodel import Schedule, Workload, plan
    >>> plan(model, Workload(), Schedule.keep(0.5, layer=16)).average_visual_tokens
    Fraction(432, 1)
    """

    images: tuple[Size, ...]
    frames: int
    visual_input: VisualInput
    dense_visual_tokens: int
    available_visual_tokens: int
    entering_visual_tokens: int
    connector_grids: tuple[tuple[Size, int], ...]
    connector_tokens: int
    arranged_tokens: int
    tower_positions: tuple[int, ...]
    encoder_tokens: tuple[int, ...]
    encoder_pairs: tuple[int, ...]
    encoder_ffn: tuple[int, ...]
    layout: tuple[Layout, ...]
    visual: tuple[int, ...]
    text_tokens: int
    structural_tokens: int
    batch: int
    query: tuple[int, ...] = ()
    key: tuple[int, ...] = ()
    ffn: tuple[int, ...] = ()
    cross: tuple[int, ...] = ()
    kv_stored: tuple[int, ...] = ()
    kv_read: tuple[int, ...] = ()
    cross_stored: tuple[int, ...] = ()
    attended: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()
    uniform: bool = True
    visual_stored: tuple[int, ...] = ()
    visual_read: tuple[int, ...] = ()
    cache: Any = None
    channels: Any = None
    bits: Any = None
    branches: tuple[tuple[Fraction, "TokenPlan | None"], ...] = ()

    @property
    def encoder_positions(self) -> int:
        """Patches over all crops of the (first) encoder."""
        return self.tower_positions[0]

    @property
    def average_visual_tokens(self) -> Fraction:
        """Mean of the visual tokens over the layers that have any place for them."""
        if self.branches:
            ways = [(share, way) for share, way in self.branches if way is not None]
            return sum((share * way.average_visual_tokens for share, way in ways), Fraction(0))
        seen = [
            tokens
            for tokens, layer in zip(self.visual, self.layout, strict=True)
            if layer.in_sequence or layer.crosses
        ]
        return Fraction(sum(seen), len(seen))

    @property
    def merged_per_crop(self) -> tuple[int, ...]:
        """Tokens that each encoder layer merges away in each crop."""
        crops = len(self.visual_input.crops)
        layers = zip(self.encoder_tokens, self.encoder_ffn, strict=True)
        return tuple((before - after) // crops for before, after in layers)

    def with_visual(self, visual: tuple[int, ...]) -> "TokenPlan":
        """Return the plan whose decoder layers process these visual tokens."""
        return self.with_activity(Activity.uniform(visual))

    def with_activity(
        self,
        activity: Activity,
        stored: tuple[int, ...] | None = None,
        read: tuple[int, ...] | None = None,
        bank: int = 0,
        present: tuple[int, ...] | None = None,
    ) -> "TokenPlan":
        """Return the plan whose decoder layers do this with their visual tokens.

        Pairs: ⌊a·q·k⌋ + q·t + t·k + t² for q updated and k exposed visual tokens, t others and a
        share a of the visual pairs.

        The cache holds `stored` visual tokens, by default those exposed, and decode forwards read
        `read` of them, by default all. Attention reads `present` visual tokens where a stream
        computes few of them, and `bank` more, which the cache stores too.
        """
        prompt = self.structural_tokens + self.text_tokens
        seen = activity.key if present is None else present
        stored = seen if stored is None else stored
        read = stored if read is None else read

        def lengths(tokens: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(
                1 if layer.one_token else prompt + count * layer.in_sequence
                for count, layer in zip(tokens, self.layout, strict=True)
            )

        def cached(tokens: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(
                0
                if not (layer.generates and layer.self_attention)
                else length + bank
                if layer.window is None
                else min(length, layer.window - 1)
                for length, layer in zip(lengths(tokens), self.layout, strict=True)
            )

        visual = tuple(map(max, activity.present, seen))
        query, attended = lengths(activity.query), lengths(seen)
        other = lengths((0,) * len(visual))
        pairs = []
        for q, k, t, share in zip(query, attended, other, activity.pairs, strict=True):
            all_pairs = q * (k + bank)
            pairs.append(all_pairs - (q - t) * (k - t) + int(share * (q - t) * (k - t)))
        cross = tuple(
            (tokens + prompt * layer.crosses_text) * layer.crosses
            for tokens, layer in zip(visual, self.layout, strict=True)
        )
        return self._replace(
            visual=visual,
            query=query,
            key=lengths(activity.key),
            ffn=lengths(activity.ffn),
            attended=tuple(length + bank for length in attended),
            pairs=tuple(pairs),
            uniform=activity.is_uniform and present is None and not bank,
            cross=cross,
            kv_stored=cached(stored),
            kv_read=cached(read),
            visual_stored=tuple(
                tokens * layer.in_sequence * layer.generates
                for tokens, layer in zip(stored, self.layout, strict=True)
            ),
            visual_read=tuple(
                tokens * layer.in_sequence * layer.generates
                for tokens, layer in zip(read, self.layout, strict=True)
            ),
            cross_stored=tuple(
                keys * layer.cross_cached for keys, layer in zip(cross, self.layout, strict=True)
            ),
        )

    def without_visual(self) -> "TokenPlan":
        """Return the plan of the same request whose LLM sees no visual token: pruning's floor."""
        plain = self._replace(cache=None, channels=None, branches=())
        return plain.with_visual((0,) * len(self.visual))


def decode_keys(plan: TokenPlan, step: int) -> list[int]:
    """Return the keys that self-attention of each layer reads in a decode forward.

    kept + step, no more than the layer's window; 0 in layers that do not run or have none.
    """
    return [
        decode_reads(plan, layer, step, step)[0] * (shape.generates and shape.self_attention)
        for layer, shape in enumerate(plan.layout)
    ]


def decode_reads(plan: TokenPlan, layer: int, first: int, last: int) -> tuple[int, int]:
    """Return the keys that decode forwards `first` to `last` read in a layer, and the visual ones.

    Σ (kept + i), no more than the window in each forward. A `cache` may keep ⌊g·(i − 1)⌋ + 1 of
    the generated tokens and shrink the visual ones.
    """
    kept, window, steps = plan.kv_read[layer], plan.layout[layer].window, last - first + 1
    visual = plan.visual_read[layer]
    if window is not None:
        # The last forward that still finds room in the window, or the one before the first.
        growing = min(max(window - kept, first - 1), last)
        keys: int = formulas.window_decode_pairs(
            kept, first, growing, growing - first + 1, last - growing, window
        )
        return keys, min(steps * visual, keys)
    if plan.cache is None:
        pairs: int = formulas.decode_pairs(kept, first, last, steps)
        return pairs, steps * visual
    from .primitives.cache import generated_read, shrunk  # few schedules have one

    left = shrunk(plan.cache.shrink_of(layer), plan.entering_visual_tokens, visual, first, last)
    own = generated_read(plan.cache.generated, first, last)
    return steps * (kept - visual) + left + own, left


def alike(
    per_layer: Iterable[tuple[Hashable, ...]],
) -> list[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Group layers by their token counts: [(layers, counts), …] in order of first appearance."""
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for layer, counts in enumerate(per_layer):
        groups.setdefault(counts, []).append(layer)
    return [(tuple(layers), counts) for counts, layers in groups.items()]
