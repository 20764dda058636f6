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
`[B, H, W, C]` (or `[B, P]` for vectors) in the pixel scale of the likelihood. A request
is refused, as the methods of the model refuse it, for pixels that are not finite or out
of the likelihood's range, latents and positions that are not finite, weights that are
negative or do not sum to 1, and unknown labels. Row i of
`model.generate(num, seed=s)` is what `generate` answers to the row `[i, s]`. The
signatures of a conditional model have one more input, `label` int32 `[B]`.

Each version holds a request for every signature, in the file that TF Serving runs
before it answers (`assets.extra/tf_serving_warmup_requests`), so that no client waits
for the first one.

`format="litert"` and `format="onnx"` write each signature as a file for LiteRT or ONNX
instead, without checks of requests, and without `generate`, whose random numbers and
loop over rows neither can run.
"""

import contextlib
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mvae_tf.evaluation.samplers import check_sampler
from mvae_tf.models.base import BaseVAE
from mvae_tf.noise import index_seeds
from mvae_tf.parts.part import choice
from mvae_tf.storage import StorageError, is_running, sync

__all__ = ["FORMATS", "export"]

FORMATS = ("saved_model", "litert", "onnx")

_TEMPORARY = re.compile(r"\.tmp-(\d{1,9})-\d+")
_ROUNDING = 1e-5
_HALF_ROUNDING = {"float16": 4e-3, "bfloat16": 3e-2}

# Within one process exports take turns, so one that bears this process' id and is found
# at the start of another was left by an earlier process that had the same id.
_TURN = threading.Lock()


def export(model, base, version=None, sampler=None, format="saved_model"):
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
        format: "saved_model"; "litert" or "onnx" for one file, `<signature>.tflite` or
            `<signature>.onnx`, for each signature but `generate`. LiteRT's converter
            does not take convolutional networks; ONNX needs the packages tf2onnx and
            onnxruntime.

    Returns:
        Path of the version's folder.

    Raises:
        TypeError: `model` is no model of this library.
        ValueError: a version that exists or that is no int >= 1, an unknown format, or
            a model whose answers depend on the batch (`batch_statistics=True`) or
            change when it is loaded back.
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
        check_sampler(sampler, model)
    choice(format, FORMATS, "export format")
    base = Path(base)
    with _TURN, _storage_errors(base):
        version = _new_version(base, version)
        base.mkdir(parents=True, exist_ok=True)
        _clean_temporaries(base)
        temporary = base / f".tmp-{os.getpid()}-{version}"
        try:
            endpoints = _endpoints(model, sampler)
            if format == "saved_model":
                _write(endpoints, temporary)
                _check(model, endpoints, temporary)
                _write_warmup(model, endpoints, temporary)
            else:
                _write_converted(model, endpoints, temporary, format)
            _sync_tree(temporary)
            os.rename(temporary, base / str(version))
            sync(base)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return base / str(version)


class _Endpoint(NamedTuple):
    """Graph function of a signature, the `TensorSpec` of its inputs, and their checks.

    `checks` maps the name of an input to a function that asserts what it must be.
    """

    function: Callable
    inputs: list
    checks: dict

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
        for tensor, spec in zip(tensors, self.inputs, strict=True):
            if spec.name in self.checks:
                self.checks[spec.name](tensor)
        return self.function(
            *(
                tf.ensure_shape(tensor, spec.shape)
                for tensor, spec in zip(tensors, self.inputs, strict=True)
            )
        )


def _endpoints(model, sampler):
    """Dict from the name of each signature to its `_Endpoint`."""

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
    signatures = {
        "serving_default": (reconstruct, [image("x"), *label]),
        "encode": (encode, [image("x"), *label]),
        "decode": (decode, [*latents, *label]),
        "generate": (generate, [seed, *label]),
        "interpolate": (interpolate, [*pair, *label]),
    }
    checks = _checks(model)
    return {name: _Endpoint(*parts, checks) for name, parts in signatures.items()}


def _checks(model):
    """Assertions about the values of inputs, by name; those of the model's methods."""
    low, high = model.input_checks.bounds
    least = 1.0 - 1e-3 if model.normalized_weights else 0.0

    def every(condition, message):
        tf.debugging.Assert(tf.reduce_all(condition), [message])

    def pixels(x):
        # NaN is in no range.
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
        message = f"Expected labels in 0..{(model.num_classes or 0) - 1}."
        every((value >= 0) & (value < (model.num_classes or 0)), message)

    images = dict.fromkeys(("x", "x0", "x1"), pixels)
    numbers = {name: finite(name) for name in ("z", "position")}
    return images | numbers | {"weights": weights, "label": labels}


def _write(endpoints, folder):
    archive = keras.export.ExportArchive()
    for name, endpoint in endpoints.items():
        archive.add_endpoint(name, endpoint.__call__, endpoint.inputs)
    archive.write_out(folder, verbose=False)


def _write_warmup(model, endpoints, folder):
    """A request for each signature, as records that TF Serving replays when it loads.

    A record is a `PredictionLog` of Serving's protocol. Its few fields are written
    here, because the package that defines them is large and needed for nothing else.
    """
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for name, endpoint in endpoints.items():
            inputs = [
                # An entry of the map of inputs: the name and a tensor.
                _field(2, _field(1, key.encode()) + _field(2, _proto(value)))
                for key, value in _example(model, endpoint, rows=1).items()
            ]
            # A model's name, which Serving replaces, and the signature's.
            spec = _field(1, _field(1, b"default") + _field(3, name.encode()))
            request = spec + b"".join(inputs)
            file.write(_field(6, _field(1, request)))


def _proto(tensor):
    return tf.make_tensor_proto(tensor.numpy()).SerializeToString()


def _field(number, content):
    """A length-delimited field of a protocol buffer."""
    length, size = bytearray(), len(content)
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    return bytes([8 * number + 2, *length, size]) + content


# === LiteRT and ONNX ===


def _write_converted(model, endpoints, folder, format):
    """Converts each signature by itself and compares its answers with the model's.

    LiteRT's converter keeps only one of several signatures that it is given at once.
    """
    convert, suffix = {"litert": (_litert, ".tflite"), "onnx": (_onnx, ".onnx")}[format]
    tolerance = _HALF_ROUNDING.get(model.compute_dtype, _ROUNDING)
    folder.mkdir()
    for name, endpoint in endpoints.items():
        if name == "generate":
            continue
        function = tf.function(endpoint.function, input_signature=endpoint.inputs)
        inputs = _example(model, endpoint, rows=3)
        arrays = {key: value.numpy() for key, value in inputs.items()}
        content, answer = convert(function, model, arrays)
        answer = {key: tf.constant(value) for key, value in answer.items()}
        expected = endpoint(*inputs.values())
        _compare(answer, expected, tolerance, f"{format} {name!r} to be the model's")
        (folder / f"{name}{suffix}").write_bytes(content)


def _litert(function, model, inputs):
    """Bytes of a function for LiteRT, and its answer there."""
    concrete = [function.get_concrete_function()]
    # TensorFlow does not see the variables of a Keras model as the model's.
    holder = tf.Module()
    holder.held = function, [variable.value for variable in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(concrete, holder)
    try:
        content = converter.convert()
    except Exception as error:  # A class of the converter's own, without a public name.
        raise ValueError(
            "Expected a network that LiteRT's converter takes, such as 'mlp': it does "
            f"not take those of {model.network.name!r}."
        ) from error
    with warnings.catch_warnings():
        # TensorFlow's own interpreter, which is to move to another package.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=content)
    return content, interpreter.get_signature_runner()(**inputs)


def _onnx(function, model, inputs):
    """Bytes of a function for ONNX, and its answer there."""
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ValueError(
            "Expected the packages tf2onnx and onnxruntime for format 'onnx' (pip "
            f"install tf2onnx onnxruntime): {error}."
        ) from error
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature)
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answer = dict(zip(names, session.run(None, inputs), strict=True))
    return content, answer


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
        bounded = np.isfinite([low, high]).all()
        return (
            random.uniform(low, high, shape) if bounded else random.normal(size=shape)
        )

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
        if match and (int(match[1]) == os.getpid() or not is_running(int(match[1]))):
            shutil.rmtree(path)


def _sync_tree(folder):
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(os.path.join(parent, name))
        sync(parent)


@contextlib.contextmanager
def _storage_errors(base):
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StorageError(f"cannot export to {base}: {reason}") from error
