"""The rules of the house, kept by reading the sources (docs/architecture.md): who may import whom, what loading never
does, and how long a function may be."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "simulacra"

# Modules by name below `simulacra.`; `*` stands for anything.
LEAVES = ("errors", "buffers", "randomness", "ema", "config", "precision", "timeline", "capabilities", "disk")
KERNEL = ("game", "play", "rules")
PARTS = ("networks*", "costs*", "penalties*", "augment*", "game", "rules", "data.spec")
MAY_IMPORT = {
    "networks*": ("networks*", "buffers", "precision"),
    "costs*": ("costs*", "buffers", "precision", "errors"),
    "penalties*": ("penalties*", "buffers", "precision"),
    "augment*": ("augment*", "precision", "errors"),
    "game": (*KERNEL, *LEAVES),
    "play": (*KERNEL, *LEAVES),
    "rules": (*KERNEL, *LEAVES),
    "optimizers": LEAVES,
    "data*": ("data*", "errors", "randomness", "disk"),
    "features*": ("features*", "networks*", "data*", "play", "optimizers", "", *LEAVES),
    "metrics*": ("metrics*", "features*", "networks*", "data*", "play", "protocol", *LEAVES),
    "explore*": ("explore*", "data*", "images", "metrics.path_length", *LEAVES),
    "health*": ("health*", "data*", "networks.conditional", "journal", "runfolder", "settings", *LEAVES),
    "models*": ("models*", "metrics.ais", *PARTS, *LEAVES),
    "recipes*": ("recipes*", "models*", "optimizers", *PARTS, *LEAVES),
    **dict.fromkeys(LEAVES, ("errors",)),
}
"""For modules that match a pattern, all they may import of the package; what matches none is the machinery around."""
IMPORTED_BY = {
    "recipes*": ("recipes*", "session", "benchmark", "cli*"),
    "health*": ("health*", "trainer", "cli*"),
    "trainer": ("training",),
    "training": ("cli*",),
    "benchmark": ("cli*",),
    "cli*": ("cli*", "__main__"),
    "__main__": (),
}
"""For modules that match a pattern, all that may import them."""
OF_ALL_MODELS = ("models", "models.base", "models.registry")
"""The modules of `models` that are no system: all of it that anything but models and recipes may import."""
PURE = ("networks*", "costs*", "penalties*", "augment*", *KERNEL)
"""Modules that use torch and the standard library, and nothing else from outside."""

SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): ast.parse(
        path.read_text("utf-8")
    )
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""Every module of the package, parsed; the package itself is ''."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def nodes(tree: ast.AST, *, inside_functions: bool = True) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        if inside_functions or not isinstance(node, Function):
            yield from nodes(node, inside_functions=inside_functions)


def imports(tree: ast.AST, **which: bool) -> Iterator[str]:
    """The full names that `tree` imports, `from a import b` as `a.b`."""
    for node in nodes(tree, **which):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str, **which: bool) -> set[str]:
    """The modules of the package that module `name` imports, wholly or a name from them."""
    full = {each for each in imports(SOURCES[name], **which) if each.startswith("simulacra.")}
    inner = {each.removeprefix("simulacra.") for each in full}
    return {each if each in SOURCES else each.rpartition(".")[0] for each in inner} - {name, ""}


def rules() -> Iterator[str]:
    """What breaks an import rule, in words."""
    for name in SOURCES:
        for other in own_imports(name):
            for pattern, allowed in MAY_IMPORT.items():
                if fnmatchcase(name, pattern) and not matches(other, allowed):
                    yield f"{name} imports {other}: {pattern} may import {', '.join(allowed)}"
            for pattern, allowed in IMPORTED_BY.items():
                if fnmatchcase(other, pattern) and not matches(name, allowed):
                    yield f"{name} imports {other}: only {', '.join(allowed) or 'nothing'} may"
            if (
                matches(other, ("models.*",))
                and not matches(name, ("models*", "recipes*"))
                and other not in OF_ALL_MODELS
            ):
                yield f"{name} imports {other}, a concrete model: ask for a capability"


def test_imports_go_downward() -> None:
    assert not list(rules())


def test_no_module_imports_itself_in_a_circle() -> None:
    TopologicalSorter({name: own_imports(name, inside_functions=False) for name in SOURCES}).prepare()


def test_networks_costs_penalties_and_kernel_need_torch_alone() -> None:
    known = {"simulacra", "torch", *sys.stdlib_module_names}
    outside = {
        f"{name} imports {full}"
        for name in SOURCES
        if matches(name, PURE)
        for full in imports(SOURCES[name])
        if full.partition(".")[0] not in known
    }
    assert not outside


def test_the_command_line_starts_without_torch() -> None:
    """Help, errors of usage and `--version` must come at once."""
    code = "import sys, simulacra, simulacra.cli; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert not {"torch", "torchvision", "numpy", "safetensors", "sklearn", "PIL"} & set(run.stdout.split())


# Loading never executes code

CARRIES_CODE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
HARMLESS = {"pickle.UnpicklingError"}  # an exception to catch
LOADERS = {"torch.load": "weights_only", "np.load": "allow_pickle", "numpy.load": "allow_pickle"}
SAFE = {"weights_only": True, "allow_pickle": False}
IN_MEMORY = {("features.inception", "torch.save")}
"""Tensors that were read safely, handed on to torch-fidelity in the only form it takes."""
NEVER = {"eval", "exec", "torch.save", "torch.jit.load", "torch.export.load", "torch.hub.load", "torch.package"}


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_unpickled_and_no_text_is_run(name: str) -> None:
    tree = SOURCES[name]
    assert not {full for full in imports(tree) if full.partition(".")[0] in CARRIES_CODE} - HARMLESS
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called, given = ast.unparse(call.func), {keyword.arg: keyword.value for keyword in call.keywords}
        where = f"{name}:{call.lineno}: {called}"
        assert called not in NEVER or (name, called) in IN_MEMORY, where
        assert called not in LOADERS or LOADERS[called] in given, f"{where} without {LOADERS[called]}"
        for option, wanted in SAFE.items():
            if option in given:
                value = given[option]
                assert isinstance(value, ast.Constant), where
                assert value.value is wanted, f"{where} with {option}={ast.unparse(value)}"


# Everything public says what it is


def public(tree: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public classes, functions and methods, and constructors; by full name."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield f"{name}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{name}.{node.name}")


def test_everything_public_has_a_docstring() -> None:
    silent = [name or "simulacra" for name, tree in SOURCES.items() if not ast.get_docstring(tree)]
    for module, tree in SOURCES.items():
        found = public(tree, module)
        silent += [name for name, node in found if not (ast.get_docstring(node) or speaks_for_itself(node))]
    assert not silent


def speaks_for_itself(node: ast.AST) -> bool:
    """Whether it is a constructor, which its class describes, or the bare `...` of a protocol."""
    return isinstance(node, Function) and (node.name == "__init__" or ast.unparse(node.body[0]) == "...")


def test_everything_public_is_annotated() -> None:
    bare = []
    for module, tree in SOURCES.items():
        for name, node in public(tree, module):
            if isinstance(node, Function):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                arguments += [each for each in (node.args.vararg, node.args.kwarg) if each]
                bare += [f"{name}({a.arg})" for a in arguments if not a.annotation and a.arg not in ("self", "cls")]
                bare += [] if node.returns else [f"{name} -> ?"]
    assert not bare


def test_defaults_are_named_so_that_type_checkers_see_them() -> None:
    """`Field(1)` reads to them as an argument that has to be given (PEP 681 knows keywords only)."""
    hidden = []
    for module, tree in SOURCES.items():
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Field")
        hidden += [f"{module}:{call.lineno}" for call in calls if call.args]
    assert not hidden


# The method fits on a page


def test_functions_are_short() -> None:
    """Lines from `def` to the end, docstring included: half of the functions within 8, nine in ten within 35, all
    within 60."""
    found = [(n, name) for name, tree in SOURCES.items() for n in ast.walk(tree) if isinstance(n, Function)]
    lengths = sorted(((n.end_lineno or n.lineno) - n.lineno + 1, f"{name}.{n.name}") for n, name in found)
    lines = [length for length, _ in lengths]
    middle, most, longest = median(lines), lines[int(0.9 * len(lines))], lines[-1]
    numbers = f"{len(lines)} functions: median {middle}, 90% within {most}, the longest {lengths[-5:]}"
    assert middle <= 8, numbers
    assert most <= 35, numbers
    assert longest <= 60, numbers


# The page on the architecture


def test_every_file_is_in_the_page_on_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    house = re.search(r"^## The house\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert house, "docs/architecture.md has no section 'The house'"
    named = set(re.findall(r"`([\w/]+\.py)`", house[1]))
    files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert files == {name for name in named if not name.endswith("__init__.py")}
