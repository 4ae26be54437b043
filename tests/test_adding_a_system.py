"""docs/adding-a-system.md, tried: its code blocks are taken out of the page and run."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding-a-system.md").read_text("utf-8")
MODEL, RECIPE = "simulacra/models/linear_ae.py", "simulacra/recipes/linear_ae.py"

TRY = '''
"""Run in a process of its own: the page's files lie in the folder given, as if in the package."""
import shlex, sys
from pathlib import Path
import pytest
import simulacra.models, simulacra.recipes

place = Path(sys.argv[1])
simulacra.models.__path__.append(str(place / "simulacra" / "models"))
simulacra.recipes.__path__.append(str(place / "simulacra" / "recipes"))
from simulacra import cli
from tests.checks.cases import recipe
from tests.checks.playing import Playing, difference, same_bits
from simulacra.game import Table

line, commands, use = ((place / name).read_text() for name in ("line", "commands", "use"))
case = eval(line, {"recipe": recipe})
playing = Playing(case).play(2)
assert all(abs(value) < float("inf") for value in playing.terms.values()) and playing.terms
assert difference(playing.all(), Playing(case, Table(micro_batches=3)).play(2).all()) < 1e-9
for command in commands.splitlines():
    sys.argv = shlex.split(command)
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, command
exec(use, {})
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(place), str(place / "test_of_the_page.py")]))
'''


def blocks(language: str) -> list[str]:
    """The page's code blocks in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def file(path: str) -> str:
    """The content of a file that the page shows under its name."""
    found = re.search(rf"^`{re.escape(path)}`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page shows no {path}"
    return found[1]


def python(arguments: list[str], folder: Path, *paths: Path) -> str:
    """Run Python in `folder` with `paths` importable; what it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


def write(place: Path, content: str) -> None:
    """Write a file and the folders around it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content, "utf-8")


def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    others = [block for block in blocks("python") if block not in (file(MODEL), file(RECIPE))]
    line, own_test, use = others
    for path in (MODEL, RECIPE):
        write(tmp_path / path, file(path))
    write(tmp_path / "line", line.strip())
    write(tmp_path / "test_of_the_page.py", own_test)
    write(tmp_path / "commands", blocks("bash")[0])
    write(tmp_path / "use", use)
    write(tmp_path / "try.py", TRY)
    said = python(["try.py", str(tmp_path)], tmp_path)
    assert "Encoder and decoder play as one" in said
    assert json.loads((tmp_path / "runs/linear/recipe.json").read_text())["budget"]["steps"] == 4


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The page's package, installed in a folder as pip would leave it."""
    place = tmp_path / "installed"
    project = tomllib.loads(blocks("toml")[0])["project"]
    write(place / "my_models" / "__init__.py", "")
    write(place / "my_models" / "model.py", file(MODEL))
    write(place / "my_models" / "recipe.py", file(RECIPE).replace("simulacra.models.linear_ae", "my_models.model"))
    facts = place / f"my_models-{project['version']}.dist-info"
    write(facts / "METADATA", f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    sections = ["\n".join([f"[{group}]", *(f"{k} = {v}" for k, v in points.items())]) for group, points in groups]
    write(facts / "entry_points.txt", "\n\n".join(sections) + "\n")
    return place


def test_from_another_package(tmp_path: Path, package: Path) -> None:
    options = "--data digits --latent 3 --steps 2 --out run --quiet"
    python(["-m", "simulacra", "train", "linear_ae", *options.split()], tmp_path, package)
    record = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert (record["package"], record["version"], record["model"]) == ("my-models", "0.1.0", "linear_ae")
    load = "import simulacra; print(type(simulacra.load('run')).__module__)"
    assert python(["-c", load], tmp_path, package).strip() == "my_models.model"
    with pytest.raises(AssertionError, match=r"UserError.*my-models.*not installed"):
        python(["-c", load], tmp_path)
