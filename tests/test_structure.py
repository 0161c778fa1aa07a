"""The house rules that no other tool checks, over every file of the package: one test for each kind of rule."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Container, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import expunge
import expunge.errors

ROOT = Path(expunge.__file__).parent
REPOSITORY = Path(__file__).parent.parent
FILES = sorted(ROOT.rglob("*.py"))
MAX_SOURCE_LINES = 58_520
"""Lines of ``src/expunge``. Only ever smaller: the aim is 34,000."""

TOP_PACKAGES = {"api", "benchmark", "cli", "demo"}
"""Where a parameter list may hold 12 names; elsewhere 8."""
LONG_SIGNATURES = {
    # Only ever shorter.
    "evaluate": 13,
    # Published, with defaults for all but two or three of their parameters.
    "Stepper.__init__": 12,
    "ModelScores.from_outputs": 12,
    "ImageEvaluation.__init__": 10,
    "forgetting_quality": 9,
    "likelihood_ratio_attack": 9,
}
OPTIONAL = {"torchvision", "timm", "transformers", "datasets", "pyarrow", "torchjd", "torch_fidelity", "nudenet"}
OPTIONAL |= {"diffusers", "accelerate", "peft", "torchmetrics", "bitsandbytes", "matplotlib"}
OPTIONAL |= {"tensorboard", "wandb", "mlflow", "trackio"}
PICKLE_READERS = {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
FOREIGN_VARIABLES = {"MLFLOW_TRACKING_URI"}
UNFINISHED = ("TODO", "FIXME", "XXX", "HACK")
SUPERLATIVES = {"MOST", "FEWEST", "LEAST", "LARGEST", "SMALLEST", "LONGEST", "SHORTEST", "HIGHEST", "LOWEST", "DEEPEST"}
SUPERLATIVES |= {"BOLDEST", "FARTHEST", "NARROWEST", "WIDEST", "FASTEST", "SLOWER", "SHORTER"}
PARTICIPLES = {"told", "made", "held", "kept", "gone", "given", "taken", "found", "said", "shown", "drawn", "known"}
PARTICIPLES |= {"sought", "left", "lent", "chosen", "written", "seen", "meant", "brought", "begun", "spent", "thought"}
NOUNS_IN_ED = {"seed", "speed", "embed", "shed", "feed", "need", "exceed", "succeed", "proceed", "breed"}
"""First words of names that end in -ed and are no participles."""
VAGUE_LOCALS = {"found", "told", "said"}
VAGUE_MODULES = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree(path)))


def every(kind: type | tuple[type, ...]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a kind with its place."""
    for path in FILES:
        for node in nodes(path):
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def parameter_count(function: Function) -> int:
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def is_participle(name: str) -> bool:
    first = name.lstrip("_").split("_")[0]
    return first in PARTICIPLES or (first.endswith("ed") and len(first) > 4 and first not in NOUNS_IN_ED)


def is_value_or_context(function: Function) -> bool:
    decorators = {node.id for node in function.decorator_list if isinstance(node, ast.Name)}
    returned = "" if function.returns is None else ast.unparse(function.returns)
    in_context = returned.startswith("AbstractContextManager")
    return in_context or bool(decorators & {"property", "cached_property", "contextmanager"})


def imports(among: list[ast.AST]) -> set[str]:
    """The top packages that these nodes import."""
    names = [alias.name for node in among if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in among if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names}


def at_module_level(module: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not in a function, not under TYPE_CHECKING."""
    waiting: list[ast.AST] = [module]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, Function) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                continue
            yield node
            waiting.append(node)


def exported_names() -> set[str]:
    """What the package offers: everything in an ``__all__``, and every error."""
    names = set(vars(expunge.errors)) | set(expunge.__all__)
    for path in FILES:
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names |= {part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)}
    return names


def public(body: list[ast.stmt], prefix: str = "", offered: Container[str] = ()) -> Iterator[tuple[str, ast.AST]]:
    """Public things among those that the package offers, and in these; all where nothing is said about that."""
    for node in body:
        is_offered = bool(prefix) or not offered or getattr(node, "name", "") in offered
        if isinstance(node, (ast.ClassDef, Function)) and is_offered and not node.name.startswith("_"):
            if any("overload" in ast.unparse(decorator) for decorator in node.decorator_list):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def signatures(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Functions and methods with the number of their parameters."""
    for node in body:
        if isinstance(node, Function):
            yield prefix + node.name, parameter_count(node)
        elif isinstance(node, ast.ClassDef):
            yield from signatures(node.body, f"{prefix}{node.name}.")


def described_names(docstring: str) -> list[str]:
    """The arguments and attributes that a docstring describes."""
    blocks = re.findall(r"^(?:Args|Attributes):\n((?:    .*\n|\n)*)", docstring + "\n", re.MULTILINE)
    return [name for block in blocks for name in re.findall(r"^    \*{0,2}(\w+):", block, re.MULTILINE)]


def known_names(node: ast.AST, classes: dict[str, ast.ClassDef]) -> set[str]:
    """The arguments of a function; the fields, attributes and arguments of a class and of its bases among ours."""
    if isinstance(node, Function):
        return {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    names |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)}
    for one in node.body:
        if isinstance(one, Function):
            names |= {one.name, *(known_names(one, classes) if one.name in ("__init__", "__call__") else ())}
    bases = [classes.get(ast.unparse(base).split("[")[0].split(".")[-1]) for base in node.bases]
    return names.union(*(known_names(base, classes) for base in bases if base is not None))


def forbidden(node: ast.AST) -> str:
    """Say what no file of the package may hold, or nothing."""
    if isinstance(node, ast.Assert):
        return "assert"
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return "bare except"
    return node.id if isinstance(node, ast.Name) and node.id in {"print", "breakpoint", "NotImplementedError"} else ""


def reads_pickles(path: Path) -> bool:
    loads = [node for node in nodes(path) if isinstance(node, ast.Attribute) and node.attr == "load"]
    readers = {"torch", *PICKLE_READERS}
    return any(ast.unparse(node.value) in readers for node in loads) or bool(imports(nodes(path)) & PICKLE_READERS)


def test_sizes_stay_small():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 400} == {}
    assert sum(lines.values()) <= MAX_SOURCE_LINES
    lengths = {f"{place} {node.name}": body_lines(node) for place, node in every(Function)}
    assert {name: count for name, count in lengths.items() if count > 60} == {}
    assert statistics.median(lengths.values()) <= 8
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= 25
    long, used = {}, set()
    for path in FILES:
        limit = 12 if path.relative_to(ROOT).parts[0] in TOP_PACKAGES else 8
        for name, count in signatures(tree(path).body):
            if count > limit:
                used.add(name)
                long |= {name: count} if count > LONG_SIGNATURES.get(name, 0) else {}
    assert long == {}, "functions with too many parameters"
    assert set(LONG_SIGNATURES) - used == set(), "short enough now: take them off LONG_SIGNATURES"


def test_names_say_what_things_are():
    functions = [(place, node.name) for place, node in every(Function) if not is_value_or_context(node)]
    assert [f"{place} {name}" for place, name in functions if is_participle(name)] == [], "functions are verbs"
    stored = [(place, node.id) for place, node in every(ast.Name) if isinstance(node.ctx, ast.Store)]
    vague = [f"{at} {name}" for at, name in stored if name in VAGUE_LOCALS or name.lstrip("_") in SUPERLATIVES]
    assert vague == [], "constants and locals name the thing"
    places: dict[str, list[str]] = {}
    for place, node in every(ast.ClassDef):
        places.setdefault(node.name, []).append(place)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}, "class names are unique"
    assert [str(path) for path in FILES if {path.stem, path.parent.name} & VAGUE_MODULES] == []


def test_docstrings_name_what_is_there():
    classes = {node.name: node for _, node in every(ast.ClassDef)}
    strangers = [
        f"{place} {name}"
        for place, node in every((ast.ClassDef, Function))
        for name in described_names(ast.get_docstring(node) or "")
        if name not in known_names(node, classes)
    ]
    assert strangers == [], "docstrings describe arguments that are not there"
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in FILES}
    constants = {one.id for _, one in every(ast.Name)} | set(classes)
    variables = set(re.findall(r'"([A-Z][A-Z0-9_]{2,})"', "".join(texts.values())))
    mentioned = [(path, name) for path, text in texts.items() for name in re.findall("``([A-Z][A-Z0-9_]{2,})``", text)]
    unknown = [f"{path} {name}" for path, name in mentioned if name not in constants | variables | FOREIGN_VARIABLES]
    assert unknown == [], "docstrings mention constants that are not there"


def test_statements_that_no_file_holds():
    assert [f"{place} {forbidden(node)}" for place, node in every(ast.AST) if forbidden(node)] == []
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    assert [f"{path} {word}" for path, text in texts.items() for word in UNFINISHED if word in text] == []
    heavy = {str(path): imports(list(at_module_level(tree(path)))) & OPTIONAL for path in FILES}
    assert {path: names for path, names in heavy.items() if names} == {}, "optional packages are imported where used"
    readers = [path.stem for path in FILES if reads_pickles(path)]
    assert len(readers) <= 1, readers
    assert all("convert" in name for name in readers), readers


def test_everything_public_has_a_docstring_and_pages_are_narrow():
    missing, offered = [], exported_names()
    for path in FILES:
        module = tree(path)
        if not ast.get_docstring(module) and (path.stem.startswith("__") or not path.stem.startswith("_")):
            missing.append(str(path))
        missing += [f"{path} {name}" for name, node in public(module.body, "", offered) if not ast.get_docstring(node)]
    assert missing == []
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    wide = {page.relative_to(REPOSITORY).as_posix() for page in pages if wide_lines(page.read_text(encoding="utf-8"))}
    assert wide == set(), "pages with lines over 100 characters"


def wide_lines(text: str) -> list[str]:
    """The lines over 100 characters; tables and addresses cannot be broken."""
    return [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|") and "http" not in line]


def test_the_public_surface_is_there_and_its_import_is_light():
    code = "import expunge, sys; print(sorted({'torch', 'numpy', 'pydantic', 'typer', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    for name in expunge.__all__:
        assert getattr(expunge, name) is not None
        if name in expunge._HOMES:
            assert getattr(import_module(expunge._HOMES[name]), name) is getattr(expunge, name)
    with pytest.raises(AttributeError, match="no attribute 'unlern'"):
        expunge.unlern  # noqa: B018


SAMPLE = '''
import numpy

def told(self, a, *, b):
    """One.

    Two.
    """
    x = 1

    assert x

def use_it():
    import torchjd

class Own:
    def public(self, one): ...
'''


def test_the_rules_find_what_they_look_for():
    told, use_it, own = ast.parse(SAMPLE).body[1:]
    assert (body_lines(told), parameter_count(told)) == (3, 2)
    assert (is_participle(told.name), is_participle(use_it.name), is_participle("seed_all")) == (True, False, False)
    assert imports(list(at_module_level(ast.parse(SAMPLE)))) == {"numpy"}
    assert [forbidden(node) for node in ast.walk(told) if forbidden(node)] == ["assert"]
    assert [name for name, node in public([told, own]) if not ast.get_docstring(node)] == ["Own", "Own.public"]
    assert list(signatures([own])) == [("Own.public", 1)]
    assert wide_lines("x" * 101 + "\n|" + "x" * 101 + "\nshort") == ["x" * 101]


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
