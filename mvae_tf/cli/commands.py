"""The commands of the command line: each takes the parsed options and does its job."""

import dataclasses
import sys
from pathlib import Path

import numpy as np

import mvae_tf
from mvae_tf import data, evaluation, models, presets, storage
from mvae_tf.config import RunConfig
from mvae_tf.evaluation.audit import audit as run_audit
from mvae_tf.evaluation.audit import averaged_sample_bound, suspects
from mvae_tf.models import registry
from mvae_tf.parts.part import choice
from mvae_tf.runs import overrides, training

__all__ = [
    "audit",
    "evaluate",
    "export",
    "generate",
    "interpolate",
    "list_names",
    "reconstruct",
    "report",
    "reproduce",
    "train",
]


def list_names(options):
    """Names of models, presets and data sets."""
    kinds = {"models": _models, "presets": _presets, "datasets": data.sources}
    chosen = [options.kind] if options.kind else list(kinds)
    for kind in chosen:
        entries = kinds[kind]()
        width = max(len(name) for name in entries)
        if not options.kind:
            print(f"{kind}:")
        for name, text in entries.items():
            print(f"{'' if options.kind else '  '}{name:{width}}  {text}")


def _models():
    return {name: registry.get(name).__doc__.splitlines()[0] for name in models.names()}


def _presets():
    return {name: presets.get(name).source for name in presets.names()}


def train(options):
    """Trains a run, or continues it."""
    config = _config(options)
    training.train(config, options.output, options.resume, verbose=_verbose())
    print(f"Trained: {options.output}/report.html")


def _config(options):
    """`RunConfig` that the options describe."""
    if options.preset:
        config = presets.get(options.preset).config()
    elif options.model:
        config = RunConfig(options.model)
    elif options.resume:
        config = training.read_config(options.output)
    else:
        raise ValueError("Expected --preset NAME or --model NAME, got neither.")
    changed_data = _given(source=_absolute(options.data), limit=options.limit)
    changed_training = _given(epochs=options.epochs, batch_size=options.batch_size)
    config = dataclasses.replace(
        config,
        data=config.data | changed_data,
        training=dataclasses.replace(config.training, **changed_training),
        **_given(seed=options.seed, devices=options.devices),
    )
    return overrides.apply(config, options.set)


def _given(**values):
    return {key: value for key, value in values.items() if value is not None}


def _absolute(source):
    """The source with its path, if any, made absolute: a run outlives its folder."""
    kind, colon, path = (source or "").partition(":")
    return f"{kind}:{Path(path).absolute()}" if colon and path else source


def evaluate(options):
    """Measures a run on its test images."""
    config, splits, model = _open(options.run)
    classifier = None
    if options.metrics and "scores" in options.metrics:
        classifier = (
            evaluation.inception(splits.value_range)
            if options.classifier == "inception"
            else evaluation.train_classifier(splits.train, splits.test, splits.name)
        )
    values = training.evaluate_run(
        options.run,
        model,
        config,
        splits,
        metrics=options.metrics,
        num_samples=options.num_samples,
        classifier=classifier,
        verbose=_verbose(),
    )
    results = values["test"]
    checks = results.pop("audit", {})
    doubtful = suspects({"audit": checks})
    for name, value in results.items():
        mark = "  (!) fails the audit: do not trust it" if name in doubtful else ""
        if isinstance(value, list):
            value = np.array2string(np.array(value), precision=4, separator=" ")
            print(f"{name}:\n{value}")
        else:
            text = f"{value:.6g}" if isinstance(value, int | float) else value or "none"
            print(f"{name}: {text}{mark}")
    _print_checks(checks)
    print(f"Written: {options.run / 'metrics.json'}")


def _print_checks(checks):
    for name, check in checks.items():
        verdict = "holds" if check["holds"] else f"FAILS ({check['failures']})"
        print(
            f"audit: {name} {check['value']:.5g} <= {check['limit']:.5g} "
            f"(+ {check['slack']:.2g}), {check['num_images']} images: {verdict}"
        )


def audit(options):
    """Checks that the numbers of a run keep the order of valid bounds."""
    config, splits, model = _open(options.run)
    if model.no_bound:
        raise ValueError(f"Expected a model with a bound to audit: {model.no_bound}.")
    x, y = _test_images(splits, range(min(options.num_images, splits.num_test)))
    checks = run_audit(model, x, y, options.num_samples, config.seed)
    records = {check.name: check.to_dict() for check in checks}
    _print_checks(records)
    if hasattr(model, "component_elbo") and model.num_components > 1:
        likelihood = records["elbo"]["limit"]
        claimed = float(np.mean(averaged_sample_bound(model, x, config.seed)))
        print(
            f"averaged sample (invalid, as a warning): {claimed:.5g} would be claimed, "
            f"log p(x) is {likelihood:.5g}"
        )
        found = {"claimed": claimed, "log_likelihood": likelihood}
        records["averaged_sample"] = found
    path = options.run / "audit.json"
    storage.write_json(path, records)
    print(f"Written: {path}")


def generate(options):
    """Images from the prior."""
    _check_image_file(options.to)
    model = mvae_tf.load(options.run)
    if options.label is not None and model.num_classes is None:
        raise ValueError("Expected --label only for a model conditioned on labels.")
    images = model.generate(
        options.num, component=options.component, y=options.label, seed=options.seed
    )
    _write_images(options.to, model, images=images)


def reconstruct(options):
    """Reconstructions of test images."""
    _check_image_file(options.to)
    _, splits, model = _open(options.run)
    x, y = _test_images(splits, range(options.num))
    images = model.reconstruct(x, y, component=options.component, seed=options.seed)
    _write_images(options.to, model, originals=x, reconstructions=images)


def interpolate(options):
    """Frames between test images."""
    _check_image_file(options.to)
    _, splits, model = _open(options.run)
    num = len(options.first)
    if len(options.second) != num:
        raise ValueError(
            f"Expected {num} indices after --second, as many as after --first, got "
            f"{len(options.second)}."
        )
    x, y = _test_images(splits, [*options.first, *options.second])
    y = None if y is None else y[:num]
    frames = model.interpolate(x[:num], x[num:], options.steps, y=y)
    _write_images(options.to, model, frames=frames)


def export(options):
    """A new version for TensorFlow Serving."""
    model = mvae_tf.load(options.run)
    print(f"Exported: {mvae_tf.export(model, options.to, options.version)}")


def report(options):
    """Figures and the report of a run."""
    training.read_config(options.run)
    from mvae_tf.runs.report import write_report

    print(f"Written: {write_report(options.run)}")


def reproduce(options):
    """Tables and figures of the papers."""
    # Matplotlib takes a while to import.
    from mvae_tf import reproduce as papers

    if options.names == ["list"]:
        width = max(len(name) for name in papers.names())
        for name in papers.names():
            print(f"{name:{width}}  {papers.get(name)[1].title}")
        return
    if options.output is None:
        raise ValueError("Expected --output DIR, got none.")
    if options.seeds < 1:
        raise ValueError(f"Expected --seeds at least 1, got {options.seeds}.")
    scale = choice(options.scale, papers.SCALES, "scale")
    # Names and sources first: a slip in the last must not cost the work of the first.
    chosen = [papers.get(name) for name in options.names]
    sources = [_sources(options.data, e.name, e.datasets(scale)) for _, e in chosen]
    failures = []
    for (paper, experiment), found in zip(chosen, sources, strict=True):
        arguments = paper, experiment, scale, found, options.output, _verbose()
        try:
            written = papers.reproduce(*arguments, options.seeds, options.runs)
        except papers.Incomplete as error:
            failures.append(str(error))
        else:
            print(f"Written: {', '.join(str(path) for path in written)}")
    if failures:
        raise ValueError("; ".join(failures))


def _sources(given, experiment, needed):
    """Sources of the data sets that an experiment needs, by name."""
    sources = {}
    for text in given:
        name, equals, source = text.partition("=")
        if not equals or ":" in name:
            if len(needed) > 1:
                raise ValueError(
                    f"Expected --data NAME=SOURCE for {experiment}, which needs "
                    f"{', '.join(needed)}, got {text!r}."
                )
            name, source = needed[0], text
        sources[name] = _absolute(source)
    for name in sources:
        choice(name, presets.datasets(), "data set")
    return {name: sources[name] for name in needed if name in sources}


# === What commands share ===


def _open(run):
    """Configuration, data and model of a run."""
    config = training.read_config(run)
    model = mvae_tf.load(run)
    return config, training.load_data(config), model


def _test_images(splits, indices):
    """Images `[N, ...]` and labels (or None) of the test part, by index."""
    indices = list(indices)
    if not indices or not all(0 <= i < splits.num_test for i in indices):
        raise ValueError(
            f"Expected test images by index in 0..{splits.num_test - 1}, got {indices}."
        )
    x, y = data.leading(splits.test, max(indices) + 1)
    return x[indices], None if y is None else y[indices]


def _check_image_file(path):
    if path.suffix not in (".png", ".npz"):
        raise ValueError(f"Expected --to FILE.png or FILE.npz, got {path}.")


def _write_images(path, model, **images):
    """Arrays of images as one `.npz`, or side by side in one `.png`."""
    images = {name: np.asarray(values) for name, values in images.items()}
    if path.suffix == ".npz":
        with storage.write(path) as temporary:
            np.savez(temporary, **images)
    else:
        _write_picture(path, model, images)
    print(f"Written: {path}")


def _write_picture(path, model, images):
    # Matplotlib takes a while to import.
    from mvae_tf.figures import save_grid

    if "frames" in images:
        tiles = images["frames"]
        columns = tiles.shape[1]
        tiles = tiles.reshape(-1, *tiles.shape[2:])
    elif "originals" in images:
        # Each original has its reconstruction to the right.
        tiles = np.stack(list(images.values()), axis=1)
        columns = 2 * min(len(tiles), 8)
        tiles = tiles.reshape(-1, *tiles.shape[2:])
    else:
        tiles, columns = images["images"], None
    low, high = model.likelihood.low, model.likelihood.high
    save_grid(tiles, path, columns=columns, low=low, high=high)


def _verbose():
    """Progress bars on a terminal, a line an epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2
