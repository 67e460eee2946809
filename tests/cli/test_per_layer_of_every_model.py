"""`cost --per-layer` of every preset: its parameters column adds up to the checkpoint."""

import pytest
from vlm_tokencost.cli.cost_rows import layer_rows
from vlm_tokencost.costmodel import evaluate, model_parameters
from vlm_tokencost.presets import list_models, load_model


@pytest.mark.parametrize("model_id", list_models())
def test_the_parameters_column_adds_up(model_id):
    model = load_model(model_id)
    report = evaluate(model)
    rows = layer_rows(report, "exact")
    total = sum(row["parameters"] for row in rows)
    assert total == sum(model_parameters(model).values())
    published = model.published_parameters
    if published is not None:  # a listing or the checkpoint, and where it differs
        assert total == published.count - sum(published.difference.values())
    places = [(row["component"], row["layer"]) for row in rows]
    assert len(places) == len(set(places)), "a place has one row"
    layers = sum(tower.num_hidden_layers for tower in model.towers)
    for component, count in (("vision", layers), ("decoder", model.decoder.num_hidden_layers)):
        found = [layer for name, layer in places if name == component and layer is not None]
        assert found == list(range(count))


@pytest.mark.parametrize("model_id", list_models())
def test_the_cost_column_adds_up(model_id):
    report = evaluate(load_model(model_id))
    rows = layer_rows(report, "exact")
    assert sum(row["baseline"] for row in rows) == report.bill("exact").total
    assert all(row["scheduled"] == row["baseline"] for row in rows)
