"""What the released code of the named rules computes, and the rounds and maps of both.

`released_terms` is None where released code computes the same products as this project's.
"""

from typing import Any

_ONE_ROUND = {"launches": "1", "per": "reduction"}

NAMED: dict[str, dict[str, Any]] = {
    # The scores are a by-product of the eager attention of layer K − 1, whose map is kept.
    "fastv": {
        "ideal": _ONE_ROUND,
        "released": {"launches": "1", "attention_map": "h * n * n", "per": "reduction"},
        "released_terms": (),
    },
    # Queries, keys and values of the whole sequence are projected again: 3nd² without GQA.
    "pyramiddrop": {
        "ideal": _ONE_ROUND,
        "released": _ONE_ROUND,
        "released_terms": (
            {
                "name": "queries, keys and values projected again",
                "tokens": "n",
                "in_features": "d",
                "out_features": "d_h * (h + 2 * h_kv)",
                "per": "reduction",
            },
            {
                "name": "query row",
                "kind": "scores",
                "queries": "1",
                "keys": "n",
                "heads": "h",
                "size": "d_h",
                "per": "reduction",
            },
        ),
    },
    # `output_attentions` keeps the maps of every encoder layer; they rank the dominant tokens.
    "visionzip": {
        "ideal": {"launches": "2"},
        "released": {"launches": "2", "attention_map": "L_a * h_e * Q"},
        "released_terms": (
            {
                "name": "similarities to contextual tokens",
                "tokens": "E - crops * (M // crops)",
                "in_features": "d_he",
                "out_features": "10 * (M // crops) // 64",
            },
        ),
    },
    # One round per token that is kept: each is the farthest from those before it.
    "divprune": {
        "ideal": {"launches": "M"},
        "released": {"launches": "M"},
        "released_terms": None,
    },
    # Sizes enter the logits, so that attention is eager; the largest map is the first layer's.
    "tome": {
        "ideal": {"launches": "L_e"},
        "released": {
            "launches": "L_e",
            "attention_map": "h_e * crops * (P // crops + c) * (P // crops + c)",
        },
        "released_terms": None,
    },
    # Rows of the text raters are a by-product of eager attention in three layers.
    "sparsevlm": {
        "ideal": {"launches": "2", "per": "reduction"},
        "released": {"launches": "2", "attention_map": "h * n * n", "per": "reduction"},
        "released_terms": (
            {"name": "text raters", "tokens": "M", "in_features": "d", "out_features": "N"},
            {
                "name": "distances of recycled tokens",
                "tokens": "3 * (b - a + 1 + (3 * (b - a) + 10) // 97) // 10 + 1",
                "in_features": "d",
                "out_features": "3 * (b - a + 1 + (3 * (b - a) + 10) // 97) // 10 + 1",
                "per": "reduction",
            },
        ),
    },
}
