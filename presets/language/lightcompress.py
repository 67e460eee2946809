"""Methods as LightCompress configures them: the `sparse` section of its YAML files.

Read in ModelTC/llmc, as ModelTC/LightCompress was called, and in its fork zhangbilang/LightCompress
(configs/sparsification/methods, llmc/compression/token_reduction); M are the visual tokens, and
amounts are rounded as Python rounds floats there. Stages reduce before a layer's forward pass
unless it says otherwise.

    FastV        round(M·(1 − rate)) from layer pruning_loc on (fastv.py, llmc 182362c)
    RandomPrune  the same, at random (random.py, fork 343847a)
    PyramidDrop  ⌊M·r⌋ from each of layer_list on (pyramiddrop.py, llmc 2f00521)
    SparseVLM    lists of retained_tokens behind layers 2, 6 and 15, recycled ones on top
                 (sparsevlm.py, llmc 182362c; lists, fork 343847a)
    DART         i + (i + t)·k from layer pruning_loc on, i image and t text pivots that pick
                 k = ⌊M·(1 − reduction_ratio)/(i + t)⌋ each (dart.py, fork 5f2895f), or
                 k = ⌊max_num_trunction/(i + t)⌋ where that is given (llmc 942745f)
    VisionZip    dominant + 1 + contextual of each crop, before the connector (visionzip.py, llmc
                 14ae841)
    FasterVLM    round(M·(1 − rate)) behind the connector (fastervlm.py, llmc 108bf01)
    VisPruner    round(M·(1 − prune_ratio)) behind the connector (vispruner.py, fork 774e2c5)
    DivPrune     round(M·(1 − reduction_ratio)) (divprune.py, fork 695fbc3), or round(M·rate), the
                 kept share, as before (llmc 50da6b6)
    ToMe         r in every block, [start, step], or one number for each block (tome.py, llmc
                 56afa2d)

MustDrop, DyCoke, FastVID, HoliTom and PruneVid merge what is alike in the image or the video, so
that their files say no number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...costmodel import InvalidInput, Model, Schedule, Workload, plan
from ...costmodel.errors import MissingExtra, clip, suggestion
from ...costmodel.selection import recycled
from ..case import Case
from ..schedule_file import file_text

#: Values of a file once aliases are written out; a configuration has about a hundred.
MOST_VALUES = 2_000
#: SparseVLM's kept tokens behind layers 2, 6 and 15, and behind one layer with recycling or none.
_LISTS = {192: (300, 200, 110), 128: (303, 110, 36), 64: (66, 30, 17)}
_SINGLE = {192: 180, 128: 114, 64: 48}
_BY_CONTENT = ("MustDrop", "DyCoke", "FastVID", "HoliTom", "PruneVid")
_WAY_OUT = "give a LightCompress file (configs/sparsification/methods) with a `sparse` section"
Fields = dict[str, Any]


class LightCompress:
    """A method of LightCompress with its settings."""

    def __init__(self, path: str, method: str, settings: Mapping[str, Any]) -> None:
        """Keep the settings as the file has them."""
        self.path, self.method, self.settings = path, method, settings

    def fitted(self, model: Model, workload: Workload, field: str = "schedule") -> Schedule:
        """Return the schedule of a model and a request."""
        case = Case.of(model, plan(model, workload))
        try:
            fields = _METHODS[self.method](_Settings(self.settings), case, model)
            if "selection" not in fields:
                fields["selection"] = _published_rule(self.method)
            unpriced = "" if fields["selection"] is not None else ", choice not priced"
            if self.method == "RandomPrune":
                unpriced = ""  # chance computes nothing
            return Schedule(name=f"LightCompress {self.method}{unpriced}", **fields)
        except InvalidInput as error:
            raise self.complaint(error, field) from None

    def complaint(self, error: InvalidInput, field: str = "schedule") -> InvalidInput:
        """Return an error about a field of the schedule as one about the file's method."""
        value = "" if error.value is None else f"{clip(error.value, 40)} "
        problem = f"says {self.method}: {error.field} {value}{error.problem}"
        return InvalidInput(field, self.path, problem, error.way_out)


def open_lightcompress(path: str, field: str = "schedule") -> LightCompress:
    """Return the method that a LightCompress file configures.

    Raises:
        InvalidInput: The file cannot be read, is no YAML, or names no method that says tokens.
        MissingExtra: PyYAML is not installed.
    """
    text = file_text(Path(path), field, _WAY_OUT)
    content = _yaml(text, path, field)
    sparse = content.get("sparse") if isinstance(content, dict) else None
    if not isinstance(sparse, dict):
        raise InvalidInput(field, path, "has no `sparse` section", _WAY_OUT)
    found = [
        section
        for section in (sparse, sparse.get("vision"), sparse.get("language"))
        if isinstance(section, dict) and isinstance(section.get("special"), dict)
    ]
    if len(found) != 1:
        problem = "names no method of token reduction" if not found else "names several methods"
        raise InvalidInput(field, path, problem, "write one `special` section with a `method`")
    settings = found[0]["special"]
    if found[0].get("method") != "TokenReduction":
        problem = f"has the method {clip(found[0].get('method'), 40)}, which reduces no tokens"
        raise InvalidInput(field, path, problem, "give a file whose method is TokenReduction")
    method = settings.get("method")
    if method in _BY_CONTENT:
        problem = f"says {method}, which leaves as many tokens as the content does"
        raise InvalidInput(
            field, path, problem, "see `tokencost methods list`, or write a schedule"
        )
    if not isinstance(method, str) or method not in _METHODS:
        hint = suggestion(clip(method, 40), _METHODS).replace("known keys:", "choose from")
        raise InvalidInput(field, path, f"says {clip(method, 40)}, which is not known", hint)
    return LightCompress(path, method, settings)


def _yaml(text: str, path: str, field: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("PyYAML", "yaml") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "malformed"
        problem = f"is not YAML{line}: {clip(what, 80)}"
        raise InvalidInput(field, path, problem, "correct that line") from None
    except (ValueError, ArithmeticError, RecursionError, TypeError, AttributeError):
        problem = "holds a number or a nesting beyond what Python reads"
        raise InvalidInput(field, path, problem, "write plain numbers") from None
    # Aliases are shared in memory, and only writing one out would fill it.
    if _values(content, MOST_VALUES) > MOST_VALUES:
        raise InvalidInput(field, path, "repeats itself by aliases", "write it out")
    return content


def _values(content: Any, most: int) -> int:
    """Return how many values a content has, counting no further than `most` + 1."""
    count, waiting = 0, [content]
    while waiting and count <= most:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += [*value.values(), *value.keys()][: most + 1]
        elif isinstance(value, list | tuple | set):
            waiting += list(value)[: most + 1]
    return count


def _published_rule(method: str) -> Any:
    """Return the selection rule of the published method; None where it is not among the presets."""
    from ..method import list_methods, load_method

    return load_method(method.lower()).selection if method.lower() in list_methods() else None


class _Settings:
    """A method's settings, with complaints about them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def count(self, key: str, default: int | None = None, least: int = 0) -> int:
        return self._count(key, self.values.get(key, default), least)

    def counts(self, key: str) -> list[int]:
        values = self.values.get(key)
        if not isinstance(values, list) or not values:
            raise InvalidInput(key, values, "is not a list of whole numbers", "give a list")
        return [self._count(key, value, 0) for value in values]

    def share(self, key: str) -> float:
        return self._share(key, self.values.get(key))

    def shares(self, key: str) -> list[float]:
        values = self.values.get(key)
        if not isinstance(values, list) or not values:
            raise InvalidInput(key, values, "is not a list of shares", "give a list")
        return [self._share(key, value) for value in values]

    def _count(self, key: str, value: Any, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**6:
            problem = f"is not a whole number from {least} to 1,000,000"
            raise InvalidInput(
                key, value, problem if value is not None else "is missing", "give it"
            )
        return value

    def _share(self, key: str, value: Any) -> float:
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        if not usable or not 0 <= value <= 1:
            problem = "is missing" if value is None else "is not a share in [0, 1]"
            raise InvalidInput(key, value, problem, "give a share such as 0.778")
        return float(value)


def _stage(layer: int, tokens: int) -> Fields:
    return {"stages": [{"first_layer": layer, "tokens": tokens}]}


def _removed(key: str) -> Callable[[_Settings, int], int]:
    return lambda settings, tokens: round(tokens * (1 - settings.share(key)))


def _one_crop(case: Case) -> int:
    """Return M of a request of one crop, which is all that these files describe."""
    if len(case.crops) != 1:
        problem = f"are {len(case.crops)} of this request, and the file is about one"
        raise InvalidInput("crops", None, problem, "give one image to a model without crops")
    return case.visual_tokens


def _fastv(settings: _Settings, case: Case, model: Model) -> Fields:
    tokens = _removed("rate")(settings, case.visual_tokens)
    return {**_stage(settings.count("pruning_loc"), tokens), "selection": "fastv"}


def _random(settings: _Settings, case: Case, model: Model) -> Fields:
    tokens = _removed("rate")(settings, case.visual_tokens)
    return {**_stage(settings.count("pruning_loc"), tokens), "selection": None}


def _pyramiddrop(settings: _Settings, case: Case, model: Model) -> Fields:
    layers, shares = settings.counts("layer_list"), settings.shares("image_token_ratio_list")
    if len(layers) != len(shares):
        problem = f"has {len(layers)} layers for {len(shares)} ratios"
        raise InvalidInput("layer_list", None, problem, "pair each layer with a ratio")
    stages = [
        {"first_layer": layer, "tokens": int(case.visual_tokens * share)}
        for layer, share in zip(layers, shares, strict=True)
    ]
    return {"stages": stages, "selection": "pyramiddrop"}


def _sparsevlm(settings: _Settings, case: Case, model: Model) -> Fields:
    layers = sorted(settings.counts("pruning_loc"))
    budget = settings.count("retained_tokens", 192)
    if budget not in _LISTS:
        raise InvalidInput("retained_tokens", budget, "has no list", "choose from 192, 128, 64")
    prunes, merges = (settings.values.get(key) for key in ("prune_flag", "merge_flag"))
    kept: tuple[int, ...]
    if layers == [2, 6, 15] and prunes is not False and merges is not False:
        kept = _LISTS[budget]
    elif len(layers) == 1 and prunes is True and merges is True:
        kept = (_SINGLE[budget],)
    elif len(layers) == 1 and prunes is True and merges is False:
        return {**_stage(layers[0] + 1, budget), "selection": None}
    else:
        problem = "means different lists in different versions, or only merges"
        raise InvalidInput("pruning_loc", layers, problem, "write [2, 6, 15]")
    before, stages = case.visual_tokens, []
    for layer, most in zip(layers, kept, strict=True):
        split = recycled(before, min(most, before - 1))
        before = split.kept + split.clusters
        stages.append({"first_layer": layer + 1, "tokens": before})  # behind the layer
    return {"stages": stages, "selection": "sparsevlm"}


def _dart(settings: _Settings, case: Case, model: Model) -> Fields:
    image, text = (settings.count(f"pivot_{kind}_token", 4) for kind in ("image", "text"))
    pivots = max(image + text, 1)
    each = int(case.visual_tokens * (1 - settings.share("reduction_ratio")) / pivots)
    if settings.has("max_num_trunction"):
        each = settings.count("max_num_trunction") // pivots
    fields = _stage(settings.count("pruning_loc"), image + (image + text) * each)
    return fields if (image, text) == (4, 4) else {**fields, "selection": None}


def _visionzip(settings: _Settings, case: Case, model: Model) -> Fields:
    _one_crop(case)
    dominant = settings.count("dominant", 192) + 1  # and the class token
    contextual = settings.count("contextual", 30, least=1)
    rule = {
        "name": "VisionZip",
        "computes": "one encoder layer's class-token row, and similarities to contextual tokens",
        "terms": [
            {
                "name": "class-token row",
                "kind": "scores",
                "queries": "crops",
                "keys": "E",
                "heads": "h_e",
                "size": "d_he",
            },
            {
                "name": "similarities to contextual tokens",
                "tokens": "E - M",
                "in_features": "d_he",
                "out_features": str(contextual),
            },
        ],
        "ideal": {"launches": "2"},
        "released": {"launches": "2", "attention_map": "L_e * h_e * Q"},
    }
    compress = {"tokens": dominant + contextual, "at": "before-connector"}
    return {"compress": compress, "selection": rule}


def _fastervlm(settings: _Settings, case: Case, model: Model) -> Fields:
    return {"compress": {"tokens": _removed("rate")(settings, _one_crop(case))}}


def _vispruner(settings: _Settings, case: Case, model: Model) -> Fields:
    fields: Fields = {"compress": {"tokens": _removed("prune_ratio")(settings, _one_crop(case))}}
    # The preset's rounds are those of half of the tokens.
    half = settings.has("important_ratio") and settings.share("important_ratio") == 0.5
    return fields if half else {**fields, "selection": None}


def _divprune(settings: _Settings, case: Case, model: Model) -> Fields:
    tokens = case.visual_tokens
    if settings.has("reduction_ratio"):
        left = _removed("reduction_ratio")(settings, tokens)
    else:
        left = round(settings.share("rate") * tokens)
    return {"compress": {"tokens": left}, "selection": "divprune"}


def _tome(settings: _Settings, case: Case, model: Model) -> Fields:
    merged: Any = settings.values.get("r", 0)
    blocks = model.vision.num_hidden_layers
    if isinstance(merged, list) and len(merged) == 2:
        numbers = [value for value in merged if isinstance(value, int | float)]
        if len(numbers) != 2 or not all(abs(value) <= 10**6 for value in numbers):
            raise InvalidInput("r", merged, "is no pair of numbers", "give [start, step]")
        merged = [max(int(numbers[0] + block * numbers[1]), 0) for block in range(blocks)]
    elif isinstance(merged, list):
        merged = [settings._count("r", value, 0) for value in merged]
    else:
        merged = settings._count("r", merged, 0)
    return {"encoder": {"merged_per_layer": merged}, "selection": "tome"}


_METHODS: dict[str, Callable[[_Settings, Case, Model], Fields]] = {
    "FastV": _fastv,
    "RandomPrune": _random,
    "PyramidDrop": _pyramiddrop,
    "SparseVLM": _sparsevlm,
    "DART": _dart,
    "VisionZip": _visionzip,
    "FasterVLM": _fastervlm,
    "VisPruner": _vispruner,
    "DivPrune": _divprune,
    "ToMe": _tome,
}
