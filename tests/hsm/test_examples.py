"""Goal: the examples in the vault's docstrings are true. Method: doctest, module by module."""

import doctest
import importlib
from pathlib import Path

import pytest

HSM = Path(__file__).parent.parent.parent / "hsm"


@pytest.mark.parametrize("name", sorted(path.stem for path in HSM.glob("[a-z]*.py")))
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"hsm.{name}")).failed == 0
