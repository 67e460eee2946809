"""Schedule files whose keys or values are wrong, and arbitrary files."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naming import brief
from vlm_tokencost.costmodel import InvalidInput, Schedule
from vlm_tokencost.presets import read_schedule

KNOWN = (
    "known keys: bits, cache, channels, compress, encoder, input, layers, mixture, name, rounding, "
    "selection, stages, stream, training"
)

# --- keys and values that are wrong ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "way_out"),
    [
        ("stage = []", "line 1: stage", "did you mean stages?"),
        ('name = "a"\n\nrouding = "ceil"\n', "line 3: rouding", "did you mean rounding?"),
        (
            "keep = 0.5",
            "line 1: keep",
            KNOWN,
        ),
        (
            'name = "a"\nself = 1',
            "line 2: self",
            KNOWN,
        ),
        (
            'name = "a"\ncls = 1',
            "line 2: cls",
            KNOWN,
        ),
        ('"stagez" = 1', "line 1: stagez", "did you mean stages?"),
        ("'stagez' = 1", "line 1: stagez", "did you mean stages?"),
        ("\n[compres]\ntokens = 3", "line 2: compres", "did you mean compress?"),
        ("\n\n[[stage]]\nfirst_layer = 2", "line 3: stage", "did you mean stages?"),
        (
            "[schedule]\nrounding = 'ceil'",
            "line 1: schedule",
            KNOWN,
        ),
        ("[compress]\ntokens = 3\n\nwhere = 1", "line 4: compress.where", "known keys: at, extra"),
        ("[encoder]\nmerged = 3", "line 2: encoder.merged", "did you mean merged_per_layer?"),
        ("selektion = 'fastv'", "line 1: selektion", "did you mean selection?"),
        ("[compress]\ntokenz = 3", "line 2: compress.tokenz", "did you mean tokens?"),
        (
            "[[stages]]\nfirst_layer = 2\nratio = 0.5\nkeep = 0.5",
            "line 4: stages.0.keep",
            "known keys: first_layer, ratio, tokens, withdraw",
        ),
        (
            "[[stages]]\nfirst_layer = 2\nratio = 0.5\n\n[[stages]]\nfirst_layer = 3\nraito = 0.4",
            "line 7: stages.1.raito",
            "did you mean ratio?",
        ),
        (
            "[[stages]]\nlayer = 2\nratio = 0.5",
            "line 2: stages.0.layer",
            "did you mean first_layer?",
        ),
        (
            "[[stages]]\nfirst_layer = 2\nratio = 0.5\n[stages.more]\nx = 1",
            "stages.0.more",
            "known keys: first_layer, ratio, tokens, withdraw",
        ),
    ],
    ids=brief,
)
def test_unknown_key_names_the_line_and_suggests(refused, text, where, way_out):
    sentence = refused(text)
    assert f"{where} is not a known key; {way_out}" in sentence


SECOND = "[[stages]]\nfirst_layer = 1\nratio = 0.9\n\n[[stages]]\n"  # line 6 is the second's first


@pytest.mark.parametrize(
    ("text", "where", "fragments"),
    [
        ("[[stages]]\nfirst_layer = 2\nratio = 2.0", "line 3: stages.0.ratio", ("2.0", "(0, 1]")),
        (SECOND + "first_layer = 2\nratio = 0", "line 7: stages.1.ratio", ("outside (0, 1]",)),
        (SECOND + "ratio = -0.5\nfirst_layer = 2", "line 6: stages.1.ratio", ("-0.5", "(0, 1]")),
        (SECOND + "first_layer = -1\nratio = 0.5", "line 6: stages.1.first_layer", ("-1", "below")),
        ("[compress]\nratio = nan", "line 2: compress.ratio", ("is not a number",)),
        ("[compress]\nratio = inf", "line 2: compress.ratio", ("is not a number",)),
        ("[compress]\nratio = -inf", "line 2: compress.ratio", ("is not a number",)),
        ('[compress]\nratio = "half"', "line 2: compress.ratio", ("half", "is not a number")),
        ("[compress]\nratio = true", "line 2: compress.ratio", ("is not a number",)),
        ("[compress]\nratio = [0.5]", "line 2: compress.ratio", ("is not a number",)),
        ("[compress]\nratio = {a = 1}", "line 2: compress.ratio", ("is not a number",)),
        ("[compress]\nratio = 2020-01-01", "line 2: compress.ratio", ("is not a number",)),
        ("[compress]\ntokens = 0", "line 2: compress.tokens", ("0", "below 1")),
        ("[compress]\ntokens = 3.0", "line 2: compress.tokens", ("3.0", "whole number")),
        ("[compress]\ntokens = true", "line 2: compress.tokens", ("whole number",)),
        ("[compress]\ntokens = []", "line 2: compress.tokens", ("whole number",)),
        ("[compress]\ntokens = 12:00:00", "line 2: compress.tokens", ("whole number",)),
        ('[compress]\ntokens = 3\nat = "before"', "line 3: compress.at", ("before-connector",)),
        ("[[stages]]\nfirst_layer = 2\nwithdraw = 1", "line 3: stages.0.withdraw", ("1",)),
        ('[[stages]]\nfirst_layer = 2\nwithdraw = "yes"', "line 3: stages.0.withdraw", ("yes",)),
        ('rounding = "down"', "line 1: rounding", ("down", "float-floor")),
        ("# comment\nrounding = 3", "line 2: rounding", ("3", "floor")),
        ("name = 3", "line 1: name", ("3",)),
        ("stages = 3", "line 1: stages", ("3",)),
        ('stages = "two"', "line 1: stages", ("two",)),
        ("\nstages = true", "line 2: stages", ("True",)),
        ("\n[stages]\nfirst_layer = 2\nratio = 0.5", "line 2: stages", ()),
        ("[encoder]\nmerged_per_layer = 1.5", "line 2: encoder.merged_per_layer", ("1.5", "whole")),
        ("[encoder]\nmerged_per_layer = [4,\n -1]", "line 2: encoder.merged_per_layer", ("-1",)),
        ("[encoder]\n\n", "line 1: encoder.merged_per_layer", ("missing",)),
        ("encoder = 16", "line 1: encoder", ("table of keys",)),
        ('# rule\nselection = "random"', "line 2: selection", ("random", "fastv", "sparsevlm")),
        ("selection = 3", "line 1: selection", ("3", "fastv", "describe")),
        ("compress = 3", "line 1: compress", ("3",)),
        ("compress = []", "line 1: compress", ()),
        ("\n[[compress]]\ntokens = 3", "line 2: compress", ()),
    ],
    ids=brief,
)
def test_wrong_value_names_line_key_and_value(refused, text, where, fragments):
    sentence = refused(text)
    assert where in sentence
    for fragment in fragments:
        assert fragment in sentence


@pytest.mark.parametrize(
    ("text", "where", "fragments"),
    [
        ('stages = ["x"]', "line 1: stages.0", ("x",)),
        ("name = 'a'\nstages = [2, 0.5]", "line 2: stages.0", ("2",)),
        ("stages = [{first_layer = 2, ratio = 2.0}]", "line 1: stages.0.ratio", ("2.0",)),
        ("\nstages = [{first_layer = 2, raito = 0.5}]", "line 2: stages.0.raito", ("ratio?",)),
        ("compress = {tokens = 0}", "line 1: compress.tokens", ("below 1",)),
        ("\ncompress.tokens = 0", "line 2: compress.tokens", ("below 1",)),
    ],
    ids=brief,
)
def test_values_written_inline_name_their_line_too(refused, text, where, fragments):
    sentence = refused(text)
    assert where in sentence
    for fragment in fragments:
        assert fragment in sentence


@pytest.mark.parametrize(
    ("text", "line", "fragments"),
    [
        (
            "[compress]\ntokens = 3\nratio = 0.5",
            1,
            ("compress", "tokens and ratio", "tokens, ratio"),
        ),
        ("\n[compress]\nat = 'after-connector'", 2, ("compress", "exactly one of tokens, ratio")),
        (
            "[[stages]]\nfirst_layer = 2\ntokens = 3\nratio = 0.5",
            1,
            ("stages.0", "tokens and ratio", "exactly one of tokens, ratio, withdraw"),
        ),
        (
            SECOND + "first_layer = 2\nratio = 0.5\nwithdraw = true",
            5,
            ("stages.1", "ratio and withdraw", "exactly one"),
        ),
        (SECOND + "first_layer = 2", 5, ("stages.1", "exactly one of tokens, ratio, withdraw")),
        (SECOND + "ratio = 0.5", 5, ("stages.1.first_layer", "is missing")),
        ("\n\n[compress]", 3, ("compress", "exactly one")),
    ],
    ids=brief,
)
def test_amounts_that_are_missing_or_too_many_name_the_table_s_line(refused, text, line, fragments):
    sentence = refused(text)
    assert f"line {line}:" in sentence
    for fragment in fragments:
        assert fragment in sentence


def test_values_of_several_lines_stay_one_sentence(refused):
    sentence = refused('rounding = """down\nand\nout"""')
    assert "line 1: rounding" in sentence
    assert "\x1b" not in refused('rounding = "\\u001b[31mred"')
    refused(f'rounding = "{"x" * 10_000}"')  # and stay short


def test_the_first_mistake_is_told_once(refused):
    sentence = refused("[[stages]]\nfirst_layer = -1\nratio = 2\ntokens = 0")
    assert sentence.count("line") == 1


# --- anything at all ------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *("name", "rounding", "compress", "stages", "first_layer", "ratio", "tokens", "withdraw"),
        *("at", "self", "cls", "kind", "x", '"stages"', "compress.tokens", "stages.ratio"),
    ]
)
VALUES = st.sampled_from(
    [
        *("1", "0.5", "-3", "1e400", "1e-400", "nan", "inf", "true", "false", '"x"', '"floor"'),
        *("''", "[]", "{}", "[1, 2]", "[[]]", "{ratio = 0.5, first_layer = 2}", "0x10", "0.7"),
        *("[{first_layer = 2}]", "2020-01-01", "12:00:00", '"""a\nb"""', '"before-connector"'),
        "9" * 30,
    ]
)
LINES = st.one_of(
    st.builds("{} = {}".format, WORDS, VALUES),
    st.builds("[{}]".format, WORDS),
    st.builds("[[{}]]".format, WORDS),
    st.text(max_size=10),
)


def never_raises_anything_else(path, content):
    path.write_bytes(content)
    try:
        schedule = read_schedule(path)
    except InvalidInput as error:
        sentence = str(error)
        assert sentence.startswith("schedule")
        assert "\n" not in sentence
        assert sentence.isprintable()
    else:
        assert isinstance(schedule, Schedule)


fuzz = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example rewrites the file
)


@settings(fuzz, max_examples=200)
@given(text=st.text())
def test_any_text(tmp_path, text):
    never_raises_anything_else(tmp_path / "schedule.toml", text.encode("utf-8", "surrogatepass"))


@settings(fuzz, max_examples=100)
@given(content=st.binary())
def test_any_bytes(tmp_path, content):
    never_raises_anything_else(tmp_path / "schedule.toml", content)


@settings(fuzz, max_examples=500)
@given(lines=st.lists(LINES, max_size=12))
def test_anything_like_a_schedule(tmp_path, lines):
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    never_raises_anything_else(tmp_path / "schedule.toml", content)


def test_numbers_in_quotes_are_texts(tmp_path):
    for line, content in (
        (2, '[encoder]\nmerged_per_layer = "16"\n'),
        (3, '[encoder]\nmerged_per_layer = [16,\n"16"]\n'),
        (2, '[compress]\ntokens = "288"\n'),
        (2, '[[stages]]\nfirst_layer = "8"\nratio = 0.5\n'),
        (
            6,
            '[[stages]]\nfirst_layer = 8\nratio = 0.5\n[[stages]]\nfirst_layer = 9\ntokens = "3"\n',
        ),
    ):
        path = tmp_path / "schedule.toml"
        path.write_text(content)
        with pytest.raises(
            InvalidInput, match="is a text; write the number without quotes"
        ) as told:
            read_schedule(path)
        if line != 3:  # a list's own lines are not told apart
            assert f"at line {line}:" in str(told.value)
