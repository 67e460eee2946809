"""The methods that are known, and the names that lead to them."""

from vlm_tokencost.presets import list_methods, load_method

#: Every method of the two source documents, and others that users expect.
EXPECTED = (
    "greedyprune sp-vla dgmr llava-stf token-transforming llava-meteor vscan pact trim topv "
    "divprune internvl-x-pvtc internvl-x-lvtc internvl-x-rvtc fastv tome sparsevlm-v1 sparsevlm "
    "sparsevlm-v2 pyramiddrop visionzip eventprune rotatek learnpruner vispco dstp dualcomp "
    "adaspark sppruner lrcp coast llava-uhd-v4 videorouter geo3dpruner quota points-long desap "
    "hawk codecsight forestprune fastocr omnirefine evocomp aot llava-prumerge "
    "llava-prumerge-plus hired dart fastervlm vispruner cdpruner holov scope mmtok mustdrop "
    "fitprune g-prune prunevid dycoke fastvid holitom framefusion vidcom2 aim st3 zipvl vtw "
    "shortv hidrop p-mod tokencarve atp-llava dynamic-llava llava-mini m3 voco-llama flashsloth "
    "visiontrim "
)


def test_methods_are_the_files():
    assert set(EXPECTED.split()) <= set(list_methods())
    for name in list_methods():
        assert load_method(name).id == name


def test_other_names():
    for name, method_id in (
        ("pdrop", "pyramiddrop"),
        ("FastV", "fastv"),
        ("LLaVA-PruMerge+", "llava-prumerge-plus"),
        ("sparsevlm-v1.5", "sparsevlm"),
    ):
        assert load_method(name).id == method_id


def test_names_are_of_one_method():
    names = [
        name.lower()
        for method_id in list_methods()
        for name in {method_id, load_method(method_id).title, *load_method(method_id).aliases}
    ]
    own = [name for name in names if names.count(name) > 1]
    assert not [name for name in own if name not in list_methods()]
