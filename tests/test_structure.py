"""The house rules that no other tool checks, over every file of the package."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import expunge

ROOT = Path(expunge.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
OPTIONAL = {"torchvision", "timm", "transformers", "datasets", "pyarrow", "torchjd", "torch_fidelity", "nudenet"}
OPTIONAL |= {"diffusers", "accelerate", "peft", "torchmetrics", "bitsandbytes", "matplotlib"}
OPTIONAL |= {"tensorboard", "wandb", "mlflow", "trackio"}
PICKLE_READERS = {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
FORBIDDEN_WORDS = ("TODO", "FIXME", "XXX", "HACK")
SUPERLATIVES = {"MOST", "FEWEST", "LEAST", "LARGEST", "SMALLEST", "LONGEST", "SHORTEST", "HIGHEST", "LOWEST", "DEEPEST"}
SUPERLATIVES |= {"BOLDEST", "FARTHEST", "NARROWEST", "WIDEST", "FASTEST", "SLOWER", "SHORTER"}
PARTICIPLES = {"told", "made", "held", "kept", "gone", "given", "taken", "found", "said", "shown", "drawn", "known"}
PARTICIPLES |= {"sought", "left", "lent", "chosen", "written", "seen", "meant", "brought", "begun", "spent", "thought"}
NOUNS_IN_ED = {"seed", "speed", "embed", "shed", "feed", "need", "exceed", "succeed", "proceed", "breed"}
"""First words of names that end in -ed and are no participles."""
VAGUE_LOCALS = {"found", "told", "said"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def body_lines(function: Function) -> int:
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def functions() -> list[tuple[str, int]]:
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", body_lines(node))
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, Function)
    ]


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def at_module_level(module: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not in a function, not under TYPE_CHECKING."""
    waiting: list[ast.AST] = [module]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, Function) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                continue
            yield node
            waiting.append(node)


def public(nodes: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in nodes:
        if isinstance(node, (ast.ClassDef, Function)) and not node.name.startswith("_"):
            if any("overload" in ast.unparse(decorator) for decorator in node.decorator_list):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def test_body_lines_leave_the_docstring_out():
    sample = 'def f():\n    """One.\n\n    Two.\n    """\n    x = 1\n\n    return x\n'
    assert body_lines(ast.parse(sample).body[0]) == 3


@each_file
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_functions_are_short():
    lengths = functions()
    counts = sorted(count for _, count in lengths)
    assert [name for name, count in lengths if count > 60] == []
    assert statistics.median(counts) <= 8
    assert statistics.quantiles(counts, n=10)[-1] <= 25


def is_participle(name: str) -> bool:
    first = name.lstrip("_").split("_")[0]
    return first in PARTICIPLES or (first.endswith("ed") and len(first) > 4 and first not in NOUNS_IN_ED)


def is_value_or_context(function: Function) -> bool:
    decorators = {node.id for node in function.decorator_list if isinstance(node, ast.Name)}
    returned = "" if function.returns is None else ast.unparse(function.returns)
    in_context = returned.startswith("AbstractContextManager")
    return in_context or bool(decorators & {"property", "cached_property", "contextmanager"})


def test_functions_are_verbs():
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, Function) and is_participle(node.name) and not is_value_or_context(node)
    ]
    assert named == []


def test_constants_and_locals_name_the_thing():
    vague = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.id}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        if node.id in VAGUE_LOCALS or node.id.lstrip("_") in SUPERLATIVES
    ]
    assert vague == []


def test_class_names_are_unique():
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_code_asks_for_the_class_of_a_request_or_a_job():
    """What depends on the kind of model is a method of the task, the request or the job."""
    asking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        if re.search(r"\b(self\.)?(config|job)$", ast.unparse(node.args[0]))
        or re.search(r"\w(Config|Job|ModelRequest)\b", ast.unparse(node.args[1]))
    ]
    assert asking == []


@each_file
def test_forbidden_statements(path):
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"line {node.lineno}: bare except")
        elif isinstance(node, ast.Name) and node.id in {"print", "breakpoint", "NotImplementedError"}:
            found.append(f"line {node.lineno}: {node.id}")
    assert found == []


@each_file
def test_nothing_is_left_to_do(path):
    text = path.read_text(encoding="utf-8")
    assert [word for word in FORBIDDEN_WORDS if word in text] == []
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


@each_file
def test_every_public_thing_has_a_docstring(path):
    module = tree(path)
    missing = [name for name, node in public(module.body) if not ast.get_docstring(node)]
    if not ast.get_docstring(module) and (path.stem.startswith("__") or not path.stem.startswith("_")):
        missing.append("the module")
    assert missing == []


def test_only_the_convert_process_reads_pickles():
    readers = set()
    for path in FILES:
        module = tree(path)
        loads = [node for node in ast.walk(module) if isinstance(node, ast.Attribute) and node.attr == "load"]
        if any(ast.unparse(node.value) in {"torch", "joblib", *PICKLE_READERS} for node in loads):
            readers.add(path)
        if {name.split(".")[0] for name in imports(ast.walk(module))} & PICKLE_READERS:
            readers.add(path)
    assert [path for path in readers if "convert" not in path.stem] == []
    assert len(readers) <= 1


@each_file
def test_optional_packages_are_imported_where_they_are_used(path):
    top = {name.split(".")[0] for name in imports(at_module_level(tree(path)))}
    assert top & OPTIONAL == set()


def test_import_is_light():
    code = "import expunge, sys; print(sorted({'torch', 'numpy', 'pydantic', 'typer', 'rich'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", expunge.__all__)
def test_public_names_are_there(name):
    home = expunge._HOMES.get(name)
    if home is not None and find_spec(home) is None:
        pytest.skip(f"{home} is not built yet")
    assert getattr(expunge, name) is not None
    if home is not None:
        assert getattr(import_module(home), name) is getattr(expunge, name)


def test_unknown_public_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'unlern'"):
        expunge.unlern  # noqa: B018
