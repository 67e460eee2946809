"""What an operator's name says about it."""

from __future__ import annotations

import pytest
from vlm_tokencost.validation.counters.kinds import computes, is_product, kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten.mm", "linear"),
        ("aten._scaled_mm", "linear"),
        ("aten.baddbmm", "attention"),
        ("aten._scaled_dot_product_efficient_attention", "attention"),
        ("aten.convolution", "convolution"),
        ("aten._slow_conv2d_forward", "convolution"),
    ],
)
def test_products(name: str, kind: str) -> None:
    assert (is_product(name), kind_of(name)) == (True, kind)


def test_what_computes() -> None:
    arithmetic = "add add_ mul_ rsqrt cos _softmax native_layer_norm topk cumsum index_add exp2"
    none = (
        "view reshape expand transpose slice to _to_copy copy_ clone cat stack zeros full arange "
        "zeros_like new_empty rand index index_put_ gather where masked_fill_ embedding "
        "_unsafe_view constant_pad_nd gt eq logical_not isnan any argmax argsort nonzero "
        "fill_ zero_ roll scatter_ pixel_unshuffle split chunk detach_ unsqueeze_ "
        "item dropout type_as lift_fresh"
    )
    assert [name for name in arithmetic.split() if not computes(f"aten.{name}")] == []
    assert [name for name in none.split() if computes(f"aten.{name}")] == []
    assert computes("prim.PythonOp.Routed"), "what torch does not know may compute"
    assert not is_product("aten.convert_element_type")
