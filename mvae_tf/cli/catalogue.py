"""What the library contains, read from its source files without importing TensorFlow.

`mvae-tf list` and the hints of the command line need only names, defaults and first
lines of docstrings. This module finds them in the source files with Python's own
parser, which takes a fraction of the time that importing the classes takes. Only the
sources of data are imported, because they do not import TensorFlow.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import json
import re
import runpy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvae_tf.config import Training
from mvae_tf.parts.part import choice
from mvae_tf.runs.assignments import check_key, like_argument, parse

__all__ = [
    "PART_KINDS",
    "Setting",
    "check_settings",
    "datasets",
    "defaults",
    "metric_groups",
    "metrics",
    "models",
    "parts",
    "settings",
]

_PACKAGE = Path(__file__).parents[1]

# Maps an argument of models that names a part to the files with parts of this kind.
PART_KINDS = {
    "network": "parts/networks",
    "likelihood": "parts/likelihoods.py",
    "mask": "parts/masks.py",
    "mixing": "parts/mixing.py",
    "independence": "parts/independence.py",
}

# Arguments of `mvae_tf.data.load` that have options of their own.
_OPTIONS = ("batch_size", "limit", "seed", "source")


@dataclass(frozen=True)
class Setting:
    """A setting that `--set` can change.

    Attributes:
        key: str, text before the equals sign, such as "mask.temperature".
        default: str, default value as `--set` takes it, or an expression of Python if
            the default is not a constant.
        owner: "training", "data", or the name of the model or part that has the
            setting.
        text: str, meaning of the setting, from the docstring.
    """

    key: str
    default: str
    owner: str
    text: str


def models() -> dict[str, str]:
    """Find the first line of the docstring of each model, by registered name."""
    return {name: _first_line(node) for name, node in _named_classes("models")}


def parts(kind: str) -> dict[str, str]:
    """Find the first line of the docstring of each part, by registered name.

    Args:
        kind: str, one of `PART_KINDS`.
    """
    classes = _named_classes(PART_KINDS[kind])
    return {name: _first_line(node) for name, node in classes}


def datasets() -> dict[str, str]:
    """Return one line about each source of `mvae_tf.data.load`, by name."""
    # The package imports NumPy, which `--help` does not need.
    from mvae_tf import data

    return data.sources()


def check_dataset(text: str) -> None:
    """Check that a source of `mvae_tf.data.load` exists.

    Args:
        text: str, the source, as a user names it.

    Raises:
        ValueError: no source has this name.
        FileNotFoundError: the file or the folder of the source does not exist.
    """
    from mvae_tf.data import checks, registry

    source, path = registry.find(text)
    if source.takes:
        checks.checked_path(path, "folder" if source.takes == "<dir>" else "file")


def metrics() -> dict[str, str]:
    """Read `mvae_tf.evaluation.UNITS`: the meaning of each number, by name."""
    return runpy.run_path(str(_PACKAGE / "evaluation" / "units.py"))["UNITS"]


def metric_groups() -> list[str]:
    """Read `mvae_tf.evaluation.GROUPS`: the groups of numbers of `evaluate`."""
    table = _assigned("evaluation/groups.py", "_GROUPS")
    assert isinstance(table, ast.Dict)
    return [ast.literal_eval(key) for key in table.keys if key is not None]


def settings() -> list[Setting]:
    """List every setting that `--set` can change."""
    return [*_training_settings(), *_data_settings(), *_model_settings()]


def check_settings(assignments: Iterable[str], model: str) -> None:
    """Find those mistakes in `--set` that can be found without TensorFlow.

    Args:
        assignments: texts `key=value`.
        model: str, name of a model of the library.

    Raises:
        ValueError: a key is unknown, or a value has the wrong type.
    """
    of_model, of_training = defaults(model), Training()
    training = [item.name for item in dataclasses.fields(Training)]
    of_data = [item.key.removeprefix("data.") for item in _data_settings()]
    of_data += ["source", "limit"]
    of_parts = {kind: _keys_of_parts(kind) for kind in PART_KINDS if kind in of_model}
    dotted = [f"data.{name}" for name in of_data]
    dotted += [f"{kind}.{name}" for kind, names in of_parts.items() for name in names]
    for assignment in assignments:
        key, value = parse(assignment)
        head, dot, tail = key.partition(".")
        if head in ("optimizer", "learning_rate") and (dot or isinstance(value, str)):
            continue  # Which classes and arguments there are, Keras says.
        if dot and head == "data":
            choice(tail, of_data, "argument of the data,")
        elif dot and head in of_parts:
            choice(tail, of_parts[head], f"key of {head},")
        else:
            check_key(key, [*training, *of_model, "input_shape", "dtype"], dotted)
            if key in of_model:
                like_argument(key, value, _value_of(of_model[key]))
            elif key in training:
                dataclasses.replace(of_training, **{key: value})


def _keys_of_parts(kind: str) -> list[str]:
    """List the names of the arguments of all parts of one kind."""
    found = [
        item.key.removeprefix(f"{kind}.")
        for name in parts(kind)
        for item in _class_settings(PART_KINDS[kind], name, f"{kind}.")
    ]
    return list(dict.fromkeys(found))


def _value_of(default: str) -> Any:
    """Return the constant that `Setting.default` stands for; else the text itself."""
    try:
        return json.loads(default)
    except ValueError:
        return default


def _training_settings() -> Iterator[Setting]:
    texts = _described(Training.__doc__ or "", "Attributes")
    for item in dataclasses.fields(Training):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        text = texts.get(item.name, "")
        yield Setting(item.name, json.dumps(default), "training", text)


def _data_settings() -> Iterator[Setting]:
    from mvae_tf import data

    texts = _described(inspect.getdoc(data.load) or "", "Args")
    for name, parameter in inspect.signature(data.load).parameters.items():
        if name not in _OPTIONS:
            default = json.dumps(parameter.default)
            yield Setting(f"data.{name}", default, "data", texts.get(name, ""))


@functools.cache
def defaults(model: str) -> dict[str, str]:
    """Return the default of each setting of a model, by name.

    Args:
        model: str, registered name of a model; there are no settings for any other
            name.
    """
    classes = dict(_named_classes("models"))
    if model not in classes:
        return {}
    return {item.key: item.default for item in _class_settings("models", model, "")}


def _model_settings() -> Iterator[Setting]:
    for name in models():
        yield from _class_settings("models", name, "")
    for kind, place in PART_KINDS.items():
        for name in parts(kind):
            yield from _class_settings(place, name, f"{kind}.")


def _class_settings(place: str, owner: str, prefix: str) -> Iterator[Setting]:
    """Yield the settings of a model or a part, with those of its base classes."""
    classes = {node.name: node for node in _classes(place)}
    lineage = [dict(_named_classes(place))[owner]]
    for node in lineage:
        lineage += [
            classes[base.id]
            for base in node.bases
            if isinstance(base, ast.Name) and base.id in classes
        ]
    found: dict[str, str] = {}
    texts: dict[str, str] = {}
    fixed: set[str] = set()
    open_ended = True
    for node in lineage:
        docstring = ast.get_docstring(node) or ""
        for section in ("Args", "Attributes"):
            for name, text in _described(docstring, section).items():
                # A description such as "see `Mask`" gives way to the one in `Mask`.
                if texts.get(name, "see `").startswith("see `"):
                    texts[name] = text
        fixed |= _fixed(node)
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                if open_ended:
                    own = dict(_arguments(item, place))
                    found = {k: v for k, v in own.items() if k not in fixed} | found
                open_ended &= item.args.kwarg is not None
    for name, default in found.items():
        if name not in ("seed", "input_shape"):
            yield Setting(prefix + name, default, owner, texts.get(name, ""))


# === Reading Python ===


def _fixed(node: ast.ClassDef) -> set[str]:
    """Return the names in the attribute `fixed` of a class.

    These are the arguments of the base class to which the class itself gives a value.
    """
    for item in node.body:
        if isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None:
            target = item.targets[0] if isinstance(item, ast.Assign) else item.target
            if isinstance(target, ast.Name) and target.id == "fixed":
                return set(ast.literal_eval(item.value))
    return set()


@functools.cache
def _tree(place: str) -> ast.Module:
    path = _PACKAGE / place
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _assigned(place: str, name: str) -> ast.expr:
    """Find the expression that a module assigns to a name at its top level."""
    for node in _tree(place).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name
            for target in node.targets
        ):
            return node.value
    raise LookupError(f"Expected {name} in {place}, got none.")


def _files(place: str) -> list[str]:
    names = sorted(path.name for path in (_PACKAGE / place).glob("*.py"))
    return [f"{place}/{name}" for name in names] or [place]


def _classes(place: str) -> Iterator[ast.ClassDef]:
    """Yield the classes in a file, or in all files of a folder."""
    for file in _files(place):
        for node in _tree(file).body:
            if isinstance(node, ast.ClassDef):
                yield node


def _named_classes(place: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield the classes that have a registered name, with that name."""
    for node in _classes(place):
        name = _registered_name(node)
        if name is not None:
            yield name, node


def _registered_name(node: ast.ClassDef) -> str | None:
    """Return the name in the decorator `@register("name")` of a class, or None."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
            if decorator.func.id == "register" and decorator.args:
                return _text(decorator.args[0])
    return None


def _text(node: ast.expr) -> str | None:
    value: Any = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else None


def _first_line(node: ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _arguments(node: ast.FunctionDef, place: str) -> Iterator[tuple[str, str]]:
    """Yield the names of a function's arguments and their defaults, without `self`."""
    positional = [*node.args.posonlyargs, *node.args.args]
    missing = [None] * (len(positional) - len(node.args.defaults))
    defaults = [*missing, *node.args.defaults, *node.args.kw_defaults]
    for argument, default in zip(
        [*positional, *node.args.kwonlyargs], defaults, strict=True
    ):
        if argument.arg != "self":
            yield argument.arg, "" if default is None else _written(default, place)


def _written(node: ast.expr, place: str) -> str:
    """Write a default as `--set` takes it, or as Python code if it is no constant."""
    if isinstance(node, ast.Name):
        for file in _files(place):
            with contextlib.suppress(LookupError):
                return _written(_assigned(file, node.id), place)
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
    return value if isinstance(value, str) else json.dumps(value)


def _described(docstring: str, section: str) -> dict[str, str]:
    """Return the descriptions in a section of a docstring, by name.

    Args:
        docstring: str, the docstring, in Google style.
        section: "Args" or "Attributes".
    """
    found: dict[str, str] = {}
    names: list[str] = []
    inside, margin = False, 0
    for line in docstring.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() == f"{section}:":
            inside, margin = True, indent
        elif inside and line.strip():
            if indent <= margin:
                break
            if indent == margin + 4:
                # An entry is "name: text" or "one, other: text". Others, such as that
                # of "*args", are no settings.
                entry = re.match(r"(\w+(?:, \w+)*): (.*)", line.strip())
                names = entry[1].split(", ") if entry else []
                found |= dict.fromkeys(names, entry[2] if entry else "")
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
