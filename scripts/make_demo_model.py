"""Trains the small MVAE-GS of `saved_models/`, exports it and writes its card.

Usage: python scripts/make_demo_model.py [--to saved_models/mvae-gs-digits]
"""

import argparse
import platform
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sample_export import as_sheet

import mvae_tf
from mvae_tf.evaluation import UNITS, evaluate

SEED = 0
EPOCHS = 300
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
MODEL = {
    "latent_dim": 2,
    "num_components": 4,
    "mask": "gumbel",
    "network": {"name": "mlp", "hidden": 128},
    "mixing": {"name": "dirichlet", "concentration": "raw", "prior": 4.0},
}
SHEET_ROWS = 10
METRICS = (
    "sse",
    "rmse_per_pixel",
    "elbo",
    "log_likelihood",
    "selected_components",
    "dropout_rate",
    "component_usage",
)

CARD = """\
# MVAE-GS on digits

A small mixture VAE that draws and encodes 8 x 8 handwritten digits, for a first look
and for trying out a server. {parameters:,} parameters, {kilobytes} kB.

![100 generated digits](samples.png)

`python scripts/sample_export.py saved_models/mvae-gs-digits --rows 10 --to digits.png`
draws these.

## Use

```python
import tensorflow as tf

served = tf.saved_model.load("saved_models/mvae-gs-digits/{version}").signatures
images = served["generate"](seed=tf.constant([[0, 7], [1, 7]]))["images"]
print(images.shape)  # (2, 8, 8, 1), pixels in [0, 1]
```

[Its signatures](../README.md#signatures) have K = {num_components}, Z = {latent_dim}.

## How it was made

`python scripts/make_demo_model.py`: seed {seed}, {epochs} epochs in batches of
{batch_size}, Adam with a learning rate that falls from {learning_rate} to 0 along a
cosine; mvae_tf {mvae_tf}, TensorFlow {tensorflow}, Keras {keras}, Python {python}, on a
CPU. The model is

```
{model}
```

and everything else a default of `mvae_tf.models.MVAE`: Bernoulli likelihood, dHSIC, all
terms of the objective with weight 1. The prior of the mixing weights is *not* the
default, which is sparse (concentration 1/K). With the default, and Z = 8, a single
component learnt the digits and three stayed at their prior, so that most generated
images were blurred; with the prior above, all four take part.

## Data

The 1,797 digits that scikit-learn ships: {num_train:,} for training, {num_validation}
for validation and {num_test} for testing. They are the test part of *Optical
Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak (UCI Machine Learning
Repository, 1998, <https://doi.org/10.24432/C50P49>, CC BY 4.0): forms filled in by
hand, scanned, and reduced to 8 x 8 counts of dark pixels from 0 to 16.

## Measured

On the {num_test} test images, seed 0:

| name | value | what |
|---|---|---|
{metrics}

The distance to the nearest training image (Euclidean, pixels in [0, 1]) is, on average,
{generated:.2f} from 400 generated images and {test:.2f} from the test images.

## Use and limits

The model is meant for examples, teaching and tests of serving. It knows nothing but
these digits, and it is no classifier. Most of its samples, but not all, are digits that
a person would read; a single VAE with Z = 8 draws slightly cleaner ones. Its numbers
say nothing about the models and data sets of the papers.
"""


def main():
    """Train, export and describe the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent.parent / "saved_models" / "mvae-gs-digits"
    parser.add_argument("--to", type=Path, default=default, help="folder of versions")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()

    tf.config.experimental.enable_op_determinism()
    digits = mvae_tf.data.load("digits", batch_size=BATCH_SIZE, seed=SEED)
    model = mvae_tf.create("mvae", digits.input_shape, seed=SEED, **MODEL)
    steps = arguments.epochs * digits.steps_per_epoch
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(optimizer=mvae_tf.optimizers.FusedAdam(schedule))
    model.fit(digits.train, epochs=arguments.epochs, verbose=2)

    version = mvae_tf.export(model, arguments.to)
    images = model.generate(SHEET_ROWS**2, seed=0)
    sheet = tf.io.encode_png(as_sheet(images, SHEET_ROWS, zoom=4))
    tf.io.write_file(str(arguments.to / "samples.png"), sheet)
    (arguments.to / "README.md").write_text(
        card(model, digits, version, arguments.epochs), encoding="utf-8"
    )
    print(f"{version}, with its card and samples beside it")


def card(model, digits, version, epochs):
    """Measure the model, and return the text of its card."""
    results = evaluate(model, digits.test, num_samples=1000)
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    generated, test = nearest_distances(model, digits)
    return CARD.format(
        **MODEL,
        parameters=model.count_params(),
        kilobytes=round(size / 1000),
        version=version.name,
        seed=SEED,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        mvae_tf=mvae_tf.__version__,
        tensorflow=metadata.version("tensorflow"),
        keras=metadata.version("keras"),
        python=platform.python_version(),
        model="\n".join(f"{key} = {value!r}" for key, value in MODEL.items()),
        num_train=digits.num_train,
        num_validation=digits.num_validation,
        num_test=digits.num_test,
        metrics="\n".join(
            f"| `{name}` | {written(results[name])} | {UNITS[name]} |"
            for name in METRICS
        ),
        generated=generated,
        test=test,
    )


def written(value):
    """Write a number, or a nested list of numbers, with two decimals."""
    return np.array2string(np.asarray(value), precision=2).replace("\n", "")


def nearest_distances(model, digits):
    """Measure the mean distance to the nearest training image.

    Returns:
        The distance of samples, and that of test images.
    """
    train, test = (flat(part) for part in (digits.train, digits.test))
    samples = np.reshape(model.generate(400, seed=0), [400, -1])

    def mean_nearest(images):
        differences = images[:, np.newaxis] - train
        return np.linalg.norm(differences, axis=2).min(axis=1).mean()

    return mean_nearest(samples), mean_nearest(test)


def flat(dataset):
    """Return the images of a data set as `[N, P]`."""
    images = np.concatenate([x for x, _ in dataset])
    return images.reshape(len(images), -1)


if __name__ == "__main__":
    main()
