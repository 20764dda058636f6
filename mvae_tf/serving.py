"""Export of a model as a SavedModel that TF Serving, or TensorFlow alone, can run.

Every signature has named inputs and named float32 outputs, all with a batch axis of
any size, 0 included. A row of an answer is a function of the same row of the request
and of nothing else, so that a server may join and split batches as it likes:

| signature         | inputs                                | outputs               |
|-------------------|---------------------------------------|-----------------------|
| `serving_default` | `x` `[B, H, W, C]`                    | `images`              |
| `encode`          | `x` `[B, H, W, C]`                    | `mean` `[B, K, Z]`,   |
|                   |                                       | `stddev` `[B, K, Z]`, |
|                   |                                       | `weights` `[B, K]`    |
| `decode`          | `z` `[B, K, Z]`, `weights` `[B, K]`   | `images`              |
| `generate`        | `seed` int32 `[B, 2]`                 | `images`              |
| `interpolate`     | `x0`, `x1` `[B, H, W, C]`,            | `images`              |
|                   | `position` `[B]`, 0 at x0 and 1 at x1 |                       |

`serving_default` reconstructs from posterior means and expected weights. `images` are
`[B, H, W, C]` (or `[B, P]` for vectors) in the pixel scale of the likelihood. Row i of
`model.generate(num, seed=s)` is what `generate` answers to the row `[i, s]`. The
signatures of a conditional model have one more input, `label` int32 `[B]`.
"""

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.models.base import BaseVAE
from mvae_tf.noise import index_seeds
from mvae_tf.storage import StorageError

__all__ = ["export"]

_TEMPORARY = re.compile(r"\.tmp-(\d{1,9})-\d+")
_ROUNDING = 1e-5
_HALF_ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2}

# Within one process exports take turns, so one that bears this process' id and is found
# at the start of another was left by an earlier process that had the same id.
_TURN = threading.Lock()


def export(model, base, version=None, sampler=None):
    """A new version of a served model, `<base>/<version>/`.

    The version is written to a hidden folder beside its place, loaded back, compared
    with the model on random inputs, flushed to the disk, and then renamed: a server
    that polls `base` sees a whole version or none. A killed export leaves its hidden
    folder, which the next export removes.

    Args:
        model: a model of this library.
        base: folder of the versions of one served model; made if missing.
        version: int >= 1; None is one more than the highest version in `base`.
        sampler: a `mvae_tf.samplers.Sampler` of the model that `generate` draws the
            latents from, in place of the prior.

    Returns:
        Path of the version's folder.

    Raises:
        TypeError: `model` is no model of this library.
        ValueError: a version that exists or that is no int >= 1, or a model whose
            answers depend on the batch (`batch_statistics=True`) or change when it is
            loaded back.
        mvae_tf.storage.StorageError: the folder cannot be written.

    Example:
        >>> folder = mvae_tf.export(model, "served/digits")
        >>> served = tf.saved_model.load(str(folder))
        >>> served.signatures["generate"](seed=[[0, 7], [1, 7]])["images"]
    """
    if not isinstance(model, BaseVAE):
        raise TypeError(
            f"Expected a model of mvae_tf to export, got {type(model).__name__}."
        )
    if sampler is not None:
        sampler.check(model)
    base = Path(base)
    with _TURN, _storage_errors(base):
        version = _new_version(base, version)
        base.mkdir(parents=True, exist_ok=True)
        _clean_temporaries(base)
        temporary = base / f".tmp-{os.getpid()}-{version}"
        try:
            endpoints = _endpoints(model, sampler)
            _write(endpoints, temporary)
            _check(model, endpoints, temporary)
            _sync_tree(temporary)
            os.rename(temporary, base / str(version))
            _sync(base)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return base / str(version)


class _Endpoint(NamedTuple):
    """Graph function of a signature and the `TensorSpec` of each of its inputs."""

    function: Callable
    inputs: list

    def __call__(self, *tensors):
        """Answer to a request, checked here, for servers do not compare shapes."""
        first, *others = self.inputs
        rows = tf.shape(tensors[0])[0]
        for tensor, spec in zip(tensors[1:], others, strict=True):
            tf.debugging.assert_equal(
                tf.shape(tensor)[0],
                rows,
                f"Expected as many rows of {spec.name!r} as of {first.name!r}.",
            )
        return self.function(
            *(
                tf.ensure_shape(tensor, spec.shape)
                for tensor, spec in zip(tensors, self.inputs, strict=True)
            )
        )


def _endpoints(model, sampler):
    """Dict from the name of each signature to its `_Endpoint`."""

    def one_hot(label):
        if label is None:
            return None
        message = f"Expected labels in 0..{model.num_classes - 1}."
        tf.debugging.assert_non_negative(label, message)
        tf.debugging.assert_less(label, model.num_classes, message)
        return tf.one_hot(label, model.num_classes)

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
    return {
        "serving_default": _Endpoint(reconstruct, [image("x"), *label]),
        "encode": _Endpoint(encode, [image("x"), *label]),
        "decode": _Endpoint(decode, [*latents, *label]),
        "generate": _Endpoint(generate, [seed, *label]),
        "interpolate": _Endpoint(interpolate, [*pair, *label]),
    }


def _write(endpoints, folder):
    archive = keras.export.ExportArchive()
    for name, endpoint in endpoints.items():
        archive.add_endpoint(name, endpoint.__call__, endpoint.inputs)
    archive.write_out(folder, verbose=False)


# === The check of what was written ===


def _check(model, endpoints, folder):
    """Compares the loaded signatures with the model, and rows with single rows.

    It runs in this process, for a second one could not get at the memory of an
    accelerator that this one holds; and on the CPU, where float32 products are not
    rounded to fewer bits, so that it judges the graph and not the device.
    """
    tolerance = _HALF_ROUNDING.get(model.compute_dtype, _ROUNDING)
    with tf.device("CPU:0"):
        served = tf.saved_model.load(str(folder)).signatures
        for name, endpoint in endpoints.items():
            inputs = _example(model, endpoint, rows=5)
            answer = served[name](**inputs)
            _compare(
                answer,
                endpoint(*inputs.values()),
                tolerance,
                f"signature {name!r} to answer as the model does",
            )
            for row in range(5):
                _compare(
                    served[name](**_row(inputs, row)),
                    _row(answer, row),
                    tolerance,
                    f"rows of signature {name!r} not to depend on their batch (a "
                    "network with batch_statistics=True cannot be served)",
                )


def _row(tensors, row):
    return {key: value[row : row + 1] for key, value in tensors.items()}


def _example(model, endpoint, rows):
    """Dict of random valid inputs of a signature, in order."""
    random = np.random.default_rng(0)
    low, high = model.likelihood.shown_range
    draw = {
        "z": lambda shape: random.normal(size=shape),
        "weights": lambda shape: random.dirichlet(np.ones(shape[1]), shape[0]),
        "seed": lambda shape: index_seeds(shape[0], seed=1),
        "label": lambda shape: random.integers(model.num_classes, size=shape),
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


def _compare(answer, expected, tolerance, what):
    for key, value in answer.items():
        if value.dtype != tf.float32:
            raise ValueError(f"Expected float32 {key!r}, got {value.dtype.name}.")
        difference = np.abs(value - expected[key])
        # Written so that NaN fails too.
        if not np.all(difference <= tolerance * (1.0 + np.abs(expected[key]))):
            raise ValueError(
                f"Expected {what}, got {key!r} that differ by {difference.max():.2g}."
            )


# === Folders ===


def _new_version(base, version):
    names = [path.name for path in base.iterdir()] if base.exists() else []
    present = [int(name) for name in names if re.fullmatch("[0-9]+", name)]
    if version is None:
        return max(present, default=0) + 1
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"Expected version an int >= 1, got {version!r}.")
    if version in present:
        raise ValueError(f"Expected a new version, got {version}: it is in {base}.")
    return version


def _clean_temporaries(base):
    for path in base.glob(".tmp-*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and (int(match[1]) == os.getpid() or not _is_running(int(match[1]))):
            shutil.rmtree(path)


def _is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It runs, under another user.
    return True


def _sync_tree(folder):
    for parent, _, files in os.walk(folder):
        for name in files:
            _sync(os.path.join(parent, name))
        _sync(parent)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _storage_errors(base):
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StorageError(f"cannot export to {base}: {reason}") from error
