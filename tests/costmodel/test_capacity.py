"""What fits a device: contexts and the batch that they are for."""

from __future__ import annotations

from vlm_tokencost.costmodel import Schedule, Workload, evaluate
from vlm_tokencost.costmodel.capacity import fit, peaks_with_context, remedies, with_batch
from vlm_tokencost.costmodel.peak import CONTEXT, Asking, peak
from vlm_tokencost.costmodel.transients import Running
from vlm_tokencost.costmodel.weights import Storage
from vlm_tokencost.presets import load_model

#: A T4's.
CAPACITY = 16 * 10**9


def asked(**workload):
    return evaluate(load_model("llava-1.5-7b"), Workload(**workload))


def test_a_batch_that_is_too_large_leaves_a_context_for_one():
    # 64 sequences of 577 tokens and more keep 19 GB of keys and values beside 14 GB of weights
    found = fit(asked(batch=64), Asking(), CAPACITY)
    assert not found.fits
    assert found.batch < 64
    assert found.context_batch == 1
    alone = fit(asked(), Asking(), CAPACITY)
    assert alone.context_batch == 1
    assert found.context == alone.context > 640
    # the largest is the largest
    for more, fits in ((0, True), (1, False)):
        text = alone.context - 576 + more
        assert (peak(asked(text_tokens=text), Asking(context=True)).total <= CAPACITY) is fits


def test_a_context_is_for_the_batch_that_was_asked_for_where_it_can_be():
    found = fit(asked(batch=2), Asking(), CAPACITY)
    assert found.context_batch == 2
    assert 640 < found.context < fit(asked(), Asking(), CAPACITY).context


def test_weights_that_do_not_fit_leave_none():
    found = fit(asked(batch=2), Asking(), 10 * 10**9)
    assert (found.batch, found.context, found.context_batch) == (0, 0, 1)


def test_the_context_of_the_device_counts():
    schedule = Schedule(compress={"tokens": 8})
    report = evaluate(load_model("llava-1.5-7b"), Workload(batch=3), schedule)
    found = peaks_with_context(report, Asking())
    assert found[0].total > found[1].total
    for one, own in zip(found, (False, True), strict=True):
        assert one.total == peak(report, Asking(), scheduled=own).total + CONTEXT


def test_remedies_name_the_largest_batch_and_the_fewest_devices():
    report = asked(batch=16)
    found = {one.change: one.total for one in remedies(report, Asking(), CAPACITY)}
    (batch,) = (int(name.split()[1]) for name in found if name.startswith("--batch"))
    assert 1 < batch < 16
    own = Asking(context=True)
    assert found[f"--batch {batch}"] == peak(with_batch(report, batch), own).total <= CAPACITY
    assert peak(with_batch(report, batch + 1), own).total > CAPACITY
    assert [name for name in found if "--tp" in name] == ["--tp 2"]
    # one sequence more than fits, and all of them where one alone does not fit
    assert "--batch" not in " ".join(one.change for one in remedies(asked(), Asking(), 10**10))


def test_remedies_of_one_side():
    schedule = Schedule(compress={"tokens": 8})
    report = evaluate(load_model("llava-1.5-7b"), Workload(batch=16), schedule)
    own = Asking(context=True)
    for scheduled in (False, True):
        capacity = peak(report, own, scheduled=scheduled).total - 1
        changes = remedies(report, Asking(), capacity, scheduled=scheduled)
        assert changes[0].change == "--batch 15"


def test_what_fits_to_the_last_byte_fits():
    report, own = asked(batch=16), Asking(context=True)
    capacity = peak(with_batch(report, 7), own).total
    assert remedies(report, Asking(), capacity)[0].change == "--batch 7"
    assert remedies(report, Asking(), capacity - 1)[0].change == "--batch 6"
    assert fit(with_batch(report, 7), Asking(), capacity).fits
    assert not fit(with_batch(report, 7), Asking(), capacity - 1).fits
    assert fit(report, Asking(), capacity).excess == peak(report, own).total - capacity


def test_fused_attention_is_a_remedy_unless_maps_are_wanted():
    # 32 heads of 2944² scores, 8 bytes each: 2.2 GB that fused attention does not hold
    report = asked(visual_tokens=2880)
    for keeps, offered in ((False, True), (True, False)):
        asking = Asking(running=Running("eager", output_attentions=keeps), context=True)
        found = remedies(report, asking, peak(report, asking).total - 1)
        assert ("--attention sdpa" in [one.change for one in found]) is offered
    fused = Asking(context=True)
    found = remedies(report, fused, peak(report, fused).total - 1)
    assert "--attention sdpa" not in [one.change for one in found]


def test_late_versions_of_transformers_are_a_remedy_of_early_ones():
    report = asked(text_tokens=20_000)
    asking = Asking(running=Running(old=True), context=True)
    (_, *changes) = remedies(report, asking, peak(report, asking).total - 1)
    found = [one.change for one in remedies(report, asking, peak(report, asking).total - 1)]
    assert found[0] == "--transformers new"
    assert [one.change for one in changes] == ["--bits 8", "--bits 4", "--tp 2"]


def test_fewer_bits_are_a_remedy_of_more():
    report = asked()
    for bits, left in ((16, ["--bits 8", "--bits 4"]), (8, ["--bits 4"]), (4, [])):
        asking = Asking(Storage(bits), context=True)
        found = remedies(report, asking, peak(report, asking).total - 1)
        assert [one.change for one in found if "--bits" in one.change] == left
