"""Relations between requests: batch, causality, generation, options, floor, compression."""

import pytest
from questions import (
    LLAVA,
    SCHEDULES,
    every_convention,
    every_family,
    every_plain_family,
    every_roomy_family,
    every_schedule,
    priced,
)
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    Schedule,
    Stage,
    Workload,
    evaluate,
)
from vlm_tokencost.presets import load_model

# --- batch --------------------------------------------------------------------------------------


@every_roomy_family
@every_schedule
def test_batch_scales_every_sum(model_id, schedule):
    model = load_model(model_id)
    one = evaluate(model, Workload(new_tokens=4), schedule)
    seven = evaluate(model, Workload(new_tokens=4, batch=7), schedule)
    assert seven.scheduled.query == one.scheduled.query  # tokens are per sequence
    pairs = [
        (one.bill("exact", phase=phase), seven.bill("exact", phase=phase))
        for phase in ("prefill", "decode", "generation")
    ]
    pairs += [(one.bill(name), seven.bill(name)) for name in priced(model_id)]
    pairs += [(one.decode_forward(2), seven.decode_forward(2))]
    for single, many in pairs:
        assert many.total == 7 * single.total
        assert many.by_part() == {key: 7 * value for key, value in single.by_part().items()}
    assert seven.floor() == 7 * one.floor()


@every_convention
@pytest.mark.parametrize("batch", [1, 2, 3, 10, 64])
def test_ratio_does_not_depend_on_batch(convention, batch):
    model, schedule = load_model(LLAVA), SCHEDULES["pyramid"]
    one = evaluate(model, Workload(new_tokens=9), schedule)
    many = evaluate(model, Workload(new_tokens=9, batch=batch), schedule)
    # Equal as fractions: scheduled_1 · dense_b = scheduled_b · dense_1.
    assert one.total(convention) * many.total(convention, scheduled=False) == many.total(
        convention
    ) * one.total(convention, scheduled=False)
    assert one.ratio(convention) == many.ratio(convention)


# --- causal -------------------------------------------------------------------------------------


@every_plain_family
@every_schedule
def test_causal_counts_n_times_n_plus_1_over_2_pairs(model_id, schedule):
    model, workload = load_model(model_id), Workload(new_tokens=3, batch=2)
    full = evaluate(model, workload, schedule)
    causal = evaluate(model, workload, schedule, Counting(causal=True))
    attention = model.decoder.attention
    per_pair = 2 * attention.num_attention_heads * 2 * attention.head_dim
    full_parts, causal_parts = full.bill().by_part(), causal.bill().by_part()
    for layer, n in enumerate(full.scheduled.query):
        key = ("decoder", layer, "attention scores")
        # Σ over queries i = 0 … n−1 of the i + 1 keys that are not later; 2 requests
        assert causal_parts.pop(key) == 2 * per_pair * sum(range(1, n + 1))
        assert full_parts.pop(key) == 2 * per_pair * n * n
    # Everything else is as without: projections, FFN, encoder, head and the decode forwards.
    assert causal_parts == full_parts
    assert causal.bill(phase="decode").total == full.bill(phase="decode").total
    assert causal.total() < full.total()
    assert causal.total("survey") == full.total("survey")
    assert causal.total("gated") == full.total("gated")


# --- generation ---------------------------------------------------------------------------------


@every_roomy_family
@every_schedule
def test_generation_is_the_prefill_and_every_decode_forward(model_id, schedule):
    new_tokens = 6
    report = evaluate(load_model(model_id), Workload(new_tokens=new_tokens, batch=2), schedule)
    for scheduled in (False, True):
        prefill = report.bill(scheduled=scheduled, phase="prefill")
        forwards = [
            report.decode_forward(step, scheduled=scheduled) for step in range(1, new_tokens)
        ]
        decode = report.bill(scheduled=scheduled, phase="decode")
        generation = report.bill(scheduled=scheduled, phase="generation")
        assert decode.total == sum(forward.total for forward in forwards)
        assert generation.total == prefill.total + decode.total
        parts = [forward.by_part() for forward in forwards]
        for key, amount in decode.by_part().items():
            assert amount == sum(part[key] for part in parts)
        assert report.total(scheduled=scheduled) == generation.total


def test_one_new_token_needs_no_decode_forward():
    report = evaluate(load_model(LLAVA), Workload(new_tokens=1))
    assert report.bill(phase="decode").total == 0
    assert report.bill(phase="generation").total == report.bill(phase="prefill").total


@every_schedule
def test_a_decode_forward_reads_what_each_layer_kept(schedule):
    report = evaluate(load_model(LLAVA), Workload(), schedule)
    for step in (1, 2, 100):
        parts = report.decode_forward(step).by_part()
        for layer, kept in enumerate(report.scheduled.query):
            # One query against kept + step keys: 2 · (kept + step) · 32 · (128 + 128)
            expected = 2 * (kept + step) * 32 * 256
            assert parts["decoder", layer, "attention scores"] == expected
            # 2 · 1 · 4 · 4096² and 2 · 1 · 3 · 4096 · 11008, at any length
            assert parts["decoder", layer, "attention projections"] == 134_217_728
            assert parts["decoder", layer, "feed-forward"] == 270_532_608


@pytest.mark.parametrize("convention", ["survey", "gated"])
def test_published_conventions_ignore_new_tokens(convention):
    short = evaluate(load_model(LLAVA), Workload(), SCHEDULES["keep"])
    long = evaluate(load_model(LLAVA), Workload(new_tokens=100), SCHEDULES["keep"])
    assert long.total(convention) == short.total(convention)
    assert long.total("exact") > short.total("exact")


# --- options that change a number ----------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("model_id", ["llava-1.5-7b", "llava-1.5-13b", "llava-next-34b"])
def test_contributing_leaves_out_one_clip_layer(model_id, batch):
    model, workload = load_model(model_id), Workload(images=("336x336",), batch=batch)
    computed = evaluate(model, workload)
    contributing = evaluate(model, workload, None, Counting(encoder_layers="contributing"))
    # 24 layers run, the 24th in vain; one layer over c crops of 577 tokens:
    # c · (2·577·(4·1024² + 2·1024·4096) + 2·577²·16·128) = c · 15,884,357,632
    crops = len(computed.dense.visual_input.crops)
    assert computed.bill().total - contributing.bill().total == (batch * crops * 15_884_357_632)
    assert ("vision", 23) in computed.bill().by_layer()
    assert ("vision", 23) not in contributing.bill().by_layer()


@every_family
def test_contributing_never_exceeds_computed(model_id):
    model = load_model(model_id)
    computed = evaluate(model).bill()
    contributing = evaluate(model, None, None, Counting(encoder_layers="contributing")).bill()
    dead = sum(tower.num_hidden_layers - tower.contributing_layers for tower in model.towers)
    assert (contributing.total < computed.total) if dead else contributing == computed
    assert contributing.by_component()["decoder"] == computed.by_component()["decoder"]


@every_roomy_family
@every_schedule
def test_logits_for_all_positions(model_id, schedule):
    model, workload = load_model(model_id), Workload(batch=2, new_tokens=3)
    last = evaluate(model, workload, schedule)
    every = evaluate(model, workload, schedule, Counting(logits="all"))
    n = last.scheduled.query[-1]
    d, vocabulary = model.decoder.hidden_size, model.decoder.vocab_size
    assert last.bill().by_component()["head"] == 2 * (2 * 1 * d * vocabulary)
    assert every.bill().total - last.bill().total == 2 * (2 * (n - 1) * d * vocabulary)
    # A decode forward has one position either way.
    assert every.bill(phase="decode").total == last.bill(phase="decode").total


def test_logits_for_all_positions_of_llava():
    model = load_model(LLAVA)
    last, every = evaluate(model), evaluate(model, None, None, Counting(logits="all"))
    # 2 · (640 − 1) · 4096 · 32,064
    assert every.total() - last.total() == 167_845_036_032


# --- floor --------------------------------------------------------------------------------------


@every_plain_family
@pytest.mark.parametrize("new_tokens", [1, 4])
def test_floor_is_withdrawal_before_layer_0(model_id, new_tokens):
    model, workload = load_model(model_id), Workload(new_tokens=new_tokens, batch=2)
    withdrawn = Schedule(stages=(Stage(first_layer=0, withdraw=True),))
    report = evaluate(model, workload, withdrawn)
    assert report.floor() == report.total()
    decoder, attention = model.decoder, model.decoder.attention
    query = attention.num_attention_heads * attention.head_dim
    key = attention.num_key_value_heads * attention.head_dim
    d, m = decoder.hidden_size, decoder.feed_forward.intermediate_size
    text = 64 + report.dense.structural_tokens
    linear = d * (2 * query + 2 * key) + (3 if decoder.feed_forward.gated else 2) * d * m
    scores = 2 * query * (text * text + sum(text + i for i in range(1, new_tokens)))
    tokens = text + new_tokens - 1
    by_hand = decoder.num_hidden_layers * 2 * (tokens * linear + scores)
    by_hand += 2 * new_tokens * d * decoder.vocab_size
    components = report.bill(scheduled=False, phase="prefill").by_component()
    assert report.floor() == components["vision"] + components["connector"] + 2 * by_hand


@every_roomy_family
def test_no_pruning_inside_the_llm_goes_below_the_floor(model_id):
    # Compression before the connector is no pruning inside the LLM: it also spares the connector.
    model, workload = load_model(model_id), Workload(new_tokens=3)
    floor = evaluate(model, workload).floor()
    for name in ("dense", "keep", "pyramid", "withdraw", "compress", "compress-and-keep"):
        report = evaluate(model, workload, SCHEDULES[name])
        assert report.floor() == floor
        assert floor < report.total()
    before = evaluate(model, workload, SCHEDULES["compress-before"])
    connector = [before.bill(scheduled=side).by_component()["connector"] for side in (False, True)]
    assert before.floor() == floor - (connector[0] - connector[1]), "the spared connector"
    assert before.floor() < before.total()
    one_token = Schedule(stages=(Stage(first_layer=0, tokens=1),))
    assert floor < evaluate(model, workload, one_token).total()


def test_floor_of_llava_by_hand():
    # encoder 381,918,216,192 + connector 24,159,191,040 + head 262,668,288 + 32 layers at 64
    # tokens: 2·64·(4·4096² + 3·4096·11008) + 2·64²·32·256 = 25,971,130,368
    assert evaluate(load_model(LLAVA)).floor() == 406_340_075_520 + 32 * 25_971_130_368


# --- compression before and after the connector -------------------------------------------------


def compressed(model_id, at, tokens=64):
    schedule = Schedule(compress=Compress(tokens=tokens, at=at))
    return evaluate(load_model(model_id), Workload(), schedule)


@every_roomy_family
def test_after_the_connector_it_runs_on_all_tokens(model_id):
    report = compressed(model_id, "after-connector")
    dense = report.bill(scheduled=False).by_component()
    pruned = report.bill().by_component()
    assert pruned["vision"] == dense["vision"]
    assert pruned["connector"] == dense["connector"]
    assert report.scheduled.visual == (64,) * report.model.decoder.num_hidden_layers


@every_roomy_family
def test_before_the_connector_it_runs_on_the_kept_tokens(model_id):
    after, before = (compressed(model_id, at) for at in ("after-connector", "before-connector"))
    assert after.scheduled.query == before.scheduled.query
    dense, pruned = after.bill().by_component(), before.bill().by_component()
    for component in ("vision", "decoder", "head"):
        assert pruned[component] == dense[component]
    # Every stage of the connector is linear in its tokens: 64 of connector_tokens are left.
    tokens = before.dense.connector_tokens
    assert pruned["connector"] * tokens == dense["connector"] * 64


@pytest.mark.parametrize(
    ("model_id", "connector"),
    [
        # 2 · 64 · (1024·4096 + 4096·4096)
        ("llava-1.5-7b", 2_684_354_560),
        # 2 · 64 · (5120·5120 + 5120·3584): 64 merged tokens
        ("qwen2.5-vl-7b", 5_704_253_440),
        # 2 · 64 · (4096·3584 + 3584·3584): 64 shuffled tokens
        ("internvl3-8b", 3_523_215_360),
    ],
)
def test_connector_on_64_tokens_by_hand(model_id, connector):
    report = compressed(model_id, "before-connector")
    assert report.bill().by_component()["connector"] == connector


@every_family
def test_keeping_everything_before_the_connector_is_the_baseline(model_id):
    whole = Schedule(compress=Compress(ratio=1, at="before-connector"))
    report = evaluate(load_model(model_id), schedule=whole)
    assert report.scheduled == report.dense
    assert report.ratio("exact") == 1
