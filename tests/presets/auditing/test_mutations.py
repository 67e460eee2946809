"""Verdicts depend on figures, and not on what claims are called."""

from decimal import Decimal

import pytest
from vlm_tokencost.presets.auditing.audit import audit
from vlm_tokencost.presets.claim import Claim, load_claims

REPRODUCED = ("reproduced", "reproduced with an assumption")


@pytest.fixture(scope="module")
def verdicts():
    """Return the verdict on every committed claim."""
    known = load_claims()
    return {claim_id: audit(claim, known) for claim_id, claim in known.items()}


def scaled(claim: Claim, factor: str) -> Claim:
    """Return a claim whose figure is multiplied, printed with as many decimals as before."""

    def times(value: Decimal) -> Decimal:
        exponent = value.as_tuple().exponent
        return (value * Decimal(factor)).quantize(Decimal(1).scaleb(min(exponent, 0)))

    changes = {"value": times(claim.value)}
    if claim.most is not None:
        changes["most"] = times(claim.most)
    return claim.model_copy(update=changes)


def test_wrong_figures_are_not_reproduced(verdicts):
    """Multiplied by 1.5 and by 0.5, at least nine in ten lose the verdict (99.6 % as committed)."""
    known = load_claims()
    tried = kept = 0
    for claim_id, verdict in verdicts.items():
        if verdict.verdict not in REPRODUCED:
            continue
        for factor in ("1.5", "0.5"):
            changed = scaled(known[claim_id], factor)
            tried += 1
            kept += audit(changed, {**known, claim_id: changed}).verdict in REPRODUCED
    assert tried >= 200
    assert kept <= tried / 10


def test_names_do_not_matter(verdicts):
    """Ids, printed names, sources, settings and notes are renamed together; nothing changes."""
    known = load_claims()
    names = {claim_id: f"claim-{index}" for index, claim_id in enumerate(known)}

    def renamed(claim: Claim) -> Claim:
        follows = tuple(
            relation.model_copy(update={"of": tuple(names.get(of, of) for of in relation.of)})
            for relation in claim.follows
        )
        blank = dict.fromkeys(("setting", "conditions", "note", "correction"), "")
        return claim.model_copy(
            update={
                **blank,
                "id": names[claim.id],
                "method": "a method",
                "source": "somewhere",
                "source_kind": "user",
                "primary": False,
                "verification": claim.verification
                if claim.verification in ("calculated", "memory")  # no source was seen
                else "source",
                "corrected": None,
                "baseline": names.get(claim.baseline, claim.baseline),
                "cost": names.get(claim.cost, claim.cost),
                "follows": follows,
            }
        )

    others = {names[claim_id]: renamed(claim) for claim_id, claim in known.items()}
    for claim_id, before in verdicts.items():
        after = audit(others[names[claim_id]], others)
        assert after._replace(claim=before.claim) == before, claim_id


def test_order_does_not_matter(verdicts):
    """Verdicts do not depend on what was audited before."""
    known = load_claims()
    for claim_id in list(known)[::-7]:
        assert audit(known[claim_id], known) == verdicts[claim_id]


def test_every_verdict_rests_on_a_rule_and_says_something(verdicts):
    from vlm_tokencost.presets.auditing import RULES, VERDICTS

    for claim_id, found in verdicts.items():
        assert found.verdict in VERDICTS, claim_id
        assert found.rule in RULES, claim_id
        assert found.reason.endswith("."), claim_id
        assert "  " not in found.reason and "nan" not in found.reason, claim_id
        if found.verdict == "not checkable":
            assert found.missing, claim_id
        if found.verdict == "reproduced with an assumption":
            assert found.assumption, claim_id
        if found.verdict == "reproduced":
            assert not found.assumption, claim_id
            assert found.value is not None, claim_id


def test_accuracy_is_never_judged(verdicts):
    for found in verdicts.values():
        if found.claim.quantity in ("accuracy", "relative accuracy", "accuracy change"):
            assert (found.verdict, found.rule) == ("not checkable", "quality")
