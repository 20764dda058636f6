"""The signatures of an export: functions of a model, with checks of their inputs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mvae_tf.evaluation.samplers import Sampler
from mvae_tf.models.base import BaseVAE
from mvae_tf.noise import index_seeds

__all__ = ["Endpoint", "compare", "endpoints_of", "example"]

# Largest relative difference that counts as rounding, in float32 and by half precision.
_ROUNDING = 1e-5
_HALF_ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2}


class Endpoint(NamedTuple):
    """The function of a signature, its inputs, and the checks of their values.

    Attributes:
        function: graph function from tensors to a dict of tensors.
        inputs: the `tf.TensorSpec` of each tensor.
        checks: dict from the name of an input to a function that asserts that its
            values are valid.
    """

    function: Callable
    inputs: list[tf.TensorSpec]
    checks: dict[str, Callable]

    def __call__(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer a request after checking it, because servers do not compare shapes.

        Args:
            *tensors: tensors, one per input.
        """
        first, *others = self.inputs
        rows = tf.shape(tensors[0])[0]
        for tensor, spec in zip(tensors[1:], others, strict=True):
            tf.debugging.assert_equal(
                tf.shape(tensor)[0],
                rows,
                f"Expected as many rows of {spec.name!r} as of {first.name!r}.",
            )
        for tensor, spec in zip(tensors, self.inputs, strict=True):
            if spec.name in self.checks:
                self.checks[spec.name](tensor)
        return self.function(
            *(
                tf.ensure_shape(tensor, spec.shape)
                for tensor, spec in zip(tensors, self.inputs, strict=True)
            )
        )


def endpoints_of(model: BaseVAE, sampler: Sampler | None) -> dict[str, Endpoint]:
    """Make the endpoint of each signature of a model.

    Args:
        model: `BaseVAE`, a model of this library.
        sampler: `Sampler` from which `generate` draws the latents, or None for the
            prior.

    Returns:
        Dict from the name of a signature to its endpoint.
    """

    def one_hot(label):
        return None if label is None else tf.one_hot(label, model.num_classes)

    def reconstruct(x, label=None):
        return {"images": model.reconstruct_batch(x, one_hot(label))}

    def encode(x, label=None):
        return model.encode_batch(x, one_hot(label))

    def decode(z, weights, label=None):
        return {"images": model.decode_batch(z, weights, one_hot(label))}

    def generate(seed, label=None):
        return {"images": model.generate_batch(seed, one_hot(label), sampler=sampler)}

    def interpolate(x0, x1, position, label=None):
        frame = model.interpolate_batch(x0, x1, position, one_hot(label))
        return {"images": frame}

    def batch_of(name, *shape, dtype=tf.float32):
        return tf.TensorSpec([None, *shape], dtype, name)

    def image(name):
        return batch_of(name, *model.input_shape)

    components = model.num_components
    latents = [
        batch_of("z", components, model.latent_dim),
        batch_of("weights", components),
    ]
    seed = batch_of("seed", 2, dtype=tf.int32)
    pair = [image("x0"), image("x1"), batch_of("position")]
    conditional = model.conditional
    label = [batch_of("label", dtype=tf.int32)] if conditional else []
    signatures: dict[str, tuple[Callable, list[Any]]] = {
        "serving_default": (reconstruct, [image("x"), *label]),
        "encode": (encode, [image("x"), *label]),
        "decode": (decode, [*latents, *label]),
        "generate": (generate, [seed, *label]),
        "interpolate": (interpolate, [*pair, *label]),
    }
    checks = _checks(model)
    return {
        name: Endpoint(function, inputs, checks)
        for name, (function, inputs) in signatures.items()
    }


def _checks(model):
    """Return functions that assert what the methods of the model check, by input."""
    low, high = model.input_checks.bounds
    least = 1.0 - 1e-3 if model.normalized_weights else 0.0

    def every(condition, message):
        tf.debugging.Assert(tf.reduce_all(condition), [message])

    def pixels(x):
        # Comparisons with NaN are false, so that NaN is refused, too.
        message = f"Expected finite {model.input_checks.described_range}."
        every(tf.math.is_finite(x) & (x >= low) & (x <= high), message)

    def finite(name):
        return lambda value: every(
            tf.math.is_finite(value), f"Expected finite values of {name!r}."
        )

    def weights(value):
        sums = tf.reduce_sum(value, axis=1, keepdims=True)
        message = "Expected weights >= 0 whose rows sum to 1."
        every((value >= -1e-6) & (sums >= least) & (sums <= 1.001), message)

    def labels(value):
        last = model.input_checks.last_label
        every((value >= 0) & (value <= last), f"Expected labels in 0..{last}.")

    images = dict.fromkeys(("x", "x0", "x1"), pixels)
    numbers = {name: finite(name) for name in ("z", "position")}
    return images | numbers | {"weights": weights, "label": labels}


def example(model: BaseVAE, endpoint: Endpoint, rows: int) -> dict[str, tf.Tensor]:
    """Draw a valid request at random, always the same one.

    Args:
        model: model that the endpoint belongs to.
        endpoint: `Endpoint`, endpoint of the signature.
        rows: int, number of rows of the request.

    Returns:
        Dict from the name of an input to its tensor, in the order of the inputs.
    """
    random = np.random.default_rng(0)
    low, high = model.likelihood.shown_range
    draw = {
        "z": lambda shape: random.normal(size=shape),
        "weights": lambda shape: random.dirichlet(np.ones(shape[1]), shape[0]),
        "seed": lambda shape: index_seeds(shape[0], seed=1),
        "label": lambda shape: random.integers(model.num_classes or 0, size=shape),
        "position": lambda shape: random.uniform(size=shape),
    }

    def images(shape):
        return random.uniform(low, high, shape)

    return {
        spec.name: tf.cast(
            draw.get(spec.name, images)([rows, *spec.shape[1:]]), spec.dtype
        )
        for spec in endpoint.inputs
    }


def compare(
    answer: Mapping[str, tf.Tensor],
    expected: Mapping[str, Any],
    dtype: str,
    what: str,
) -> None:
    """Check that the answer to a request equals another one up to rounding.

    Args:
        answer: dict from the name of an output to its tensor.
        expected: dict, the answer of the model.
        dtype: str, name of the dtype that the layers of the model compute in.
        what: str, words for the error, "Expected ...".

    Raises:
        ValueError: an output is not float32, or differs from the expected one.
    """
    tolerance = _HALF_ROUNDING.get(dtype, _ROUNDING)
    for key, value in answer.items():
        if value.dtype != tf.float32:
            raise ValueError(f"Expected float32 {key!r}, got {value.dtype.name}.")
        difference = np.abs(value - expected[key])
        # The comparison is written so that NaN fails, too.
        if not np.all(difference <= tolerance * (1.0 + np.abs(expected[key]))):
            raise ValueError(
                f"Expected {what}, got {key!r} that differ by {difference.max():.2g}."
            )
