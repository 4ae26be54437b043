"""The notebooks run from the first cell to the last, at a small budget."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"mnist_vae": "mnist"}
BEFORE = """
import simulacra.images

shown, draw = [], simulacra.images.grid
simulacra.images.grid = lambda *given, **named: shown.append(draw(*given, **named)) or shown[-1]
"""
AFTER = """
assert len(shown) >= 2
assert all(picture.getextrema()[0] < picture.getextrema()[1] for picture in shown)
"""


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    if path.stem in NEEDS and not (Path(os.environ.get("SIMULACRA_DATA", "")) / NEEDS[path.stem]).exists():
        pytest.skip(f"needs {NEEDS[path.stem]}")
    cells = json.loads(path.read_text())["cells"]
    source = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert not any(cell.get("outputs") for cell in cells)
    assert source.count("\ngrid(to_uint8(") >= 2  # as the last line of a cell it is shown
    script = tmp_path / "cells.py"
    script.write_text("\n".join([BEFORE, source, AFTER]))
    environment = os.environ | {"STEPS": "20"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
