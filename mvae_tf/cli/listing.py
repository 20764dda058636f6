"""The commands `list` and `show`, which do not import TensorFlow."""

import argparse
import dataclasses
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mvae_tf import presets, storage
from mvae_tf.cli import catalogue
from mvae_tf.cli.parser import KINDS
from mvae_tf.config import RunConfig, Training, flat, read_config, setting_text
from mvae_tf.parts.part import choice
from mvae_tf.runs.history import divergence, read_history, read_metrics

__all__ = ["list_names", "show"]

_COMPARED = ("elbo", "log_likelihood", "sse_sampled", "rmse", "bits_per_dim")


class Table(NamedTuple):
    """The table that `mvae-tf list` prints.

    Attributes:
        header: list of str, titles of the columns. The texts of the last column are
            wrapped to the width of the screen.
        rows: list of rows, each with one text per column.
        hidden: list of str, one text per row with further words by which a search finds
            the row.
    """

    header: Sequence[str]
    rows: list[Sequence[str]]
    hidden: list[str]


def list_names(options: argparse.Namespace) -> None:
    """Print the entries of one kind, or the number of entries of each kind."""
    if options.kind is None:
        for kind in KINDS:
            found = _table(kind).rows
            print(f"{kind:12} {len(found):4}   mvae-tf list {kind}")
        return
    table = _table(options.kind)
    words = [word.lower() for word in options.words]
    rows = [
        row
        for row, hidden in zip(table.rows, table.hidden, strict=True)
        if all(word in f"{' '.join(row)} {hidden}".lower() for word in words)
    ]
    if not rows:
        raise ValueError(
            f"Expected words that describe {options.kind}, got {' '.join(words)!r}, "
            "which no line contains."
        )
    _print_table(table.header, rows)


def show(options: argparse.Namespace) -> None:
    """Print the settings of a preset or a run, and its numbers beside the paper's."""
    folder = Path(options.name).expanduser()
    if options.name in presets.names():
        _show_preset(presets.get(options.name))
    elif folder.is_dir():
        _show_run(folder)
    else:
        choice(options.name, presets.names(), "preset or run", "`mvae-tf list presets`")


# === list ===


def _table(kind: str) -> Table:
    if kind == "presets":
        return _presets()
    if kind == "settings":
        return _settings()
    if kind in ("models", "datasets", "metrics"):
        entries = getattr(catalogue, kind)()
    else:
        entries = catalogue.parts(kind.removesuffix("s"))
    rows: list[Sequence[str]] = [(name, text) for name, text in entries.items()]
    return Table(("name", "what it is"), rows, [""] * len(rows))


def _presets() -> Table:
    rows: list[Sequence[str]] = []
    hidden = []
    for name in presets.names():
        preset = presets.get(name)
        k, z = (_argument(preset, key) for key in ("num_components", "latent_dim"))
        rows.append((name, preset.dataset, k, z, _main_number(preset), preset.source))
        numbers = " ".join(f"{item.metric} {item.source}" for item in preset.paper)
        hidden.append(f"{preset.model} k={k} z={z} {numbers}")
    header = ("name", "data", "K", "Z", "the paper's number", "source")
    return Table(header, rows, hidden)


def _main_number(preset: presets.Preset) -> str:
    """Return the number of the paper that tells most about a preset, as a text."""
    if not preset.paper:
        return "-"
    main = [item for item in preset.paper if item.metric in _COMPARED]
    number = (main or preset.paper)[0]
    return f"{number.metric} {number.value:g}"


def _argument(preset: presets.Preset, name: str) -> str:
    """Return an argument of the model as a text; "-" if the model does not take it."""
    default = catalogue.defaults(preset.model).get(name, "-")
    return str(preset.arguments.get(name, default))


def _settings() -> Table:
    # A setting that several models have with the same meaning and default is one row.
    owners: dict[tuple[str, str, str], list[str]] = {}
    for item in catalogue.settings():
        owners.setdefault((item.key, item.default, item.text), []).append(item.owner)
    rows: list[Sequence[str]] = []
    for (key, default, text), names in owners.items():
        some = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
        rows.append((key, default, some, text))
    header = ("key", "default", "of", "what it means")
    return Table(header, rows, [" ".join(names) for names in owners.values()])


# === show ===


def _show_preset(preset: presets.Preset) -> None:
    print(f"Preset {preset.name}, from {preset.source}\n")
    _print_settings(preset.config())
    if preset.paper:
        print("\nThe paper's numbers")
        _print_table(
            ("number", "paper", "source"),
            [
                (item.metric, f"{item.value:g}", f"{item.source}: {item.row}")
                for item in preset.paper
            ],
        )
    name = shlex.quote(preset.name)
    print(f"\nTrain it: mvae-tf train --preset {name} --output runs/{name}")


def _show_run(folder: Path) -> None:
    config = read_config(folder)
    origin = f", from the preset {config.preset}" if config.preset else ""
    print(f"Run {folder}{origin}: {_state(folder, config)}\n")
    _print_settings(config)
    _print_numbers(folder, config)
    if (folder / "report.html").is_file():
        print(f"\nReport: {folder / 'report.html'}")
    if not (folder / "model.keras").is_file():
        again = f"mvae-tf train --resume --output {shlex.quote(str(folder))}"
        print(f"\nFinish it: {again}")


def _state(folder: Path, config: RunConfig) -> str:
    history = read_history(folder)
    finished = "" if (folder / "model.keras").is_file() else "not "
    if diverged := divergence(history, config.arguments.get("input_shape", ())):
        storage.warn(f"{folder}: {diverged}")
    return f"{finished}finished, {len(history)} of {config.training.epochs} epochs"


def _print_numbers(folder: Path, config: RunConfig) -> None:
    measured = read_metrics(folder).get("test", {})
    rows: list[Sequence[str]] = []
    reported = presets.reported(config)
    for item in reported:
        value = _number(measured.get(item.metric))
        where = f"{item.source}: {item.row}"
        rows.append((item.metric, value or "not measured", f"{item.value:g}", where))
    known = {row[0] for row in rows}
    for name, value in measured.items():
        if name not in known and _number(value):
            rows.append((name, _number(value), "", ""))
    if rows:
        print("\nNumbers on the test images")
        _print_table(("number", "this run", "paper", "source"), rows)
    changed = presets.differences(config)
    if changed and reported:
        print(
            _filled(
                "Do not compare: the paper's numbers belong to the preset, from which "
                f"this run differs in {', '.join(changed)}."
            )
        )


def _number(value: Any) -> str:
    """Write a number as a text; return an empty text for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:.5g}"


def _print_settings(config: RunConfig) -> None:
    given = config.arguments
    defaults = {
        key: f"{text}  (default)"
        for key, text in catalogue.defaults(config.model).items()
        if key not in given
    }
    training = flat(dataclasses.asdict(config.training))
    plain = {field.name for field in dataclasses.fields(Training)}
    _print_group("Model", {"model": config.model} | given | defaults)
    _print_group("Data", config.data)
    _print_group(
        "Training",
        {
            # An optimiser's or a schedule's arguments, as `--set` names them.
            key if key in plain else _spelled(key): value
            for key, value in training.items()
        },
    )
    run: dict[str, Any] = {"seed": config.seed, "devices": config.devices}
    run |= {"init_from": config.init_from} if config.init_from else {}
    run |= {"import": ", ".join(config.imports)} if config.imports else {}
    _print_group("Run", run)


def _spelled(key: str) -> str:
    return key.replace(".class_name", "").replace(".config", "")


# === Printing ===


def _print_group(title: str, values: dict[str, Any]) -> None:
    """Print settings, one per line."""
    print(title)
    width = max(len(key) for key in values)
    for key, value in values.items():
        print(f"  {key:{width}}  {setting_text(value)}")


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose last column is wrapped to the width of the screen."""
    rows = [header, *rows]
    columns = zip(*(row[:-1] for row in rows), strict=True)
    widths = [max(map(len, column)) for column in columns]
    indent = sum(widths) + 2 * len(widths)
    for row in rows:
        cells = zip(row[:-1], widths, strict=True)
        start = "".join(f"{cell:{width}}  " for cell, width in cells)
        print(_filled(row[-1], start, " " * indent).rstrip())


def _filled(text: str, start: str = "", indent: str = "") -> str:
    width = max(shutil.get_terminal_size((100, 24)).columns, len(indent) + 40)
    return (
        textwrap.fill(
            text,
            width,
            initial_indent=start,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )
        or start
    )
