"""What answers say of a Q-Former's text and of cross-attention layers without keys."""

import pytest

INSTRUCTION = "all N = 64 text tokens count as the instruction that the Q-Former reads"
CROSSING = "cross-attention layers without keys"


def said(tokencost, *words):
    """Return what a command prints, on one line."""
    result = tokencost(*words)
    assert result.status == 0
    return " ".join(result.out.split())


@pytest.mark.parametrize("command", ["ratio", "cost"])
def test_the_instruction_of_a_q_former(tokencost, command):
    assert INSTRUCTION in said(tokencost, command, "--model", "instructblip-vicuna-7b")


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "blip2-opt-2.7b"),  # its Q-Former reads the image alone
        ("--model", "instructblip-vicuna-7b", "--text-tokens", 0),
        ("--model", "instructblip-vicuna-7b", "--convention", "survey"),  # no connector
    ],
    ids=["no text read", "no text", "not exact"],
)
def test_no_instruction_is_counted(tokencost, words):
    assert "the Q-Former reads" not in said(tokencost, "ratio", *words)


def test_layers_without_keys_are_counted_as_run(tokencost, tmp_path):
    model = ("--model", "llama3.2-vision-11b", "--convention", "exact")
    dense = said(tokencost, "ratio", *model)
    assert f"{CROSSING} (those of the floor) run all the same" in dense

    path = tmp_path / "withdrawn.toml"
    path.write_text("[[stages]]\nfirst_layer = 10\nwithdraw = true\n")
    schedule = (*model, "--schedule", path)
    assert f"{CROSSING} (layers 13, 18, 23, 28, 33, 38 and those of the floor)" in said(
        tokencost, "ratio", *schedule
    )
    answer = tokencost("cost", *schedule, "--per-layer", "--format", "json").json()
    layers = {
        row["layer"]: row["scheduled"] for row in answer["layers"] if row["component"] == "decoder"
    }
    # 65 tokens: query and output of 4096 · 4096, three matrices of 4096 · 14336, and nothing else
    assert layers[13] == 2 * 65 * (2 * 4096 * 4096 + 3 * 4096 * 14336)


def test_models_whose_images_are_in_the_sequence_say_nothing_of_it(tokencost):
    for model in ("llava-1.5-7b", "blip2-flan-t5-xl"):
        assert CROSSING not in said(tokencost, "ratio", "--model", model, "--convention", "exact")
