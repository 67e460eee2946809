"""The examples in docstrings run; modules are imported by their installed names."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("vlm_tokencost.costmodel", "vlm_tokencost.presets", "vlm_tokencost.cli")


def modules_of(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    found = pkgutil.walk_packages(path, f"{package}.")
    # The entry module sets up its process: it is left to the tests that start one.
    return [package, *(one.name for one in found if not one.name.endswith("__main__"))]


MODULES = [module for package in PACKAGES for module in modules_of(package)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    attempted = {name: doctest.testmod(importlib.import_module(name)).attempted for name in MODULES}
    for module in ("numeric", "schedule", "formulas", "workload"):
        assert attempted[f"vlm_tokencost.costmodel.{module}"] > 0
