"""Export of a version of a served model, whole and checked, or not at all."""

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from mvae_tf.evaluation.samplers import Sampler, check_sampler
from mvae_tf.models.base import BaseVAE
from mvae_tf.models.hooks import check_model
from mvae_tf.parts.part import choice, is_integer
from mvae_tf.serving.formats import write_converted
from mvae_tf.serving.signatures import Endpoint, compare, endpoints_of, example
from mvae_tf.storage import StorageError, is_running, sync

__all__ = ["FORMATS", "export"]

FORMATS = ("saved_model", "litert", "onnx")

_TEMPORARY = re.compile(r"\.tmp-(\d{1,9})-\d+")

# The exports of one process take turns. So a hidden folder with the number of this
# process, found when an export starts, was left by an earlier process of that number.
_TURN = threading.Lock()


def export(
    model: BaseVAE,
    base: str | Path,
    version: int | None = None,
    sampler: Sampler | None = None,
    format: str = "saved_model",
) -> Path:
    """Write a new version of a served model, `<base>/<version>/`.

    The version is written to a hidden folder in `base`, loaded back, compared with the
    model on random inputs, flushed to the disk, and then renamed. So a server that
    polls `base` sees the whole version or nothing of it. A killed export leaves its
    hidden folder behind; the next export removes it.

    Args:
        model: `BaseVAE`, a model of this library.
        base: path of the folder with the versions of one served model; it is made if it
            is missing.
        version: int, number of the version, at least 1; None stands for one more than
            the highest version in `base`.
        sampler: a `mvae_tf.samplers.Sampler` of the model, from which `generate` draws
            the latents in place of the prior; None for the prior.
        format: "saved_model", or "litert" or "onnx" for one file per signature except
            `generate`, `<signature>.tflite` or `<signature>.onnx`. LiteRT's converter
            does not take convolutional networks; ONNX needs the packages tf2onnx and
            onnxruntime.

    Returns:
        Path of the version's folder.

    Raises:
        TypeError: `model` is no model of this library.
        ValueError: the version exists or is no int in [1, 2^63), the format is unknown,
            or the answers of the model depend on the other rows of a batch (a network
            with `batch_statistics=True`) or change when it is loaded back.
        mvae_tf.storage.StorageError: the folder cannot be written.

    Example:
        >>> folder = mvae_tf.export(model, "served/digits")
        >>> served = tf.saved_model.load(str(folder))
        >>> served.signatures["generate"](seed=[[0, 7], [1, 7]])["images"]
    """
    check_model(model)
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
            endpoints = endpoints_of(model, sampler)
            if format == "saved_model":
                _write(endpoints, temporary)
                _check(model, endpoints, temporary)
                _write_warmup(model, endpoints, temporary)
            else:
                write_converted(model, endpoints, temporary, format)
            _sync_tree(temporary)
            os.rename(temporary, base / str(version))
            sync(base)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return base / str(version)


def _write(endpoints: Mapping[str, Endpoint], folder: Path) -> None:
    """Write the SavedModel."""
    archive = keras.export.ExportArchive()
    for name, endpoint in endpoints.items():
        archive.add_endpoint(name, endpoint.__call__, endpoint.inputs)
    archive.write_out(folder, verbose=False)


def _write_warmup(
    model: BaseVAE, endpoints: Mapping[str, Endpoint], folder: Path
) -> None:
    """Write a request for each signature, which TF Serving runs when it loads.

    A record is a `PredictionLog` of Serving's protocol. Its few fields are written
    here, because the package that defines them is large and nothing else needs it.
    """
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for name, endpoint in endpoints.items():
            inputs = [
                # An entry of the map of inputs has a name and a tensor.
                _field(2, _field(1, key.encode()) + _field(2, _proto(value)))
                for key, value in example(model, endpoint, rows=1).items()
            ]
            # The name of a model, which Serving replaces, and that of the signature.
            spec = _field(1, _field(1, b"default") + _field(3, name.encode()))
            request = spec + b"".join(inputs)
            file.write(_field(6, _field(1, request)))


def _proto(tensor):
    return tf.make_tensor_proto(tensor.numpy()).SerializeToString()


def _field(number, content):
    """Write a length-delimited field of a protocol buffer."""
    length, size = bytearray(), len(content)
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    return bytes([8 * number + 2, *length, size]) + content


# === The check of what was written ===


def _check(model: BaseVAE, endpoints: Mapping[str, Endpoint], folder: Path) -> None:
    """Compare the loaded signatures with the model, and batches with single rows.

    The comparison runs in this process, because a second process could not use the
    memory of an accelerator that this one holds. It runs on the CPU, because some
    accelerators round the factors of float32 products to fewer bits, and the graph is
    to be compared rather than the device.
    """
    with tf.device("CPU:0"):
        served = tf.saved_model.load(str(folder)).signatures
        for name, endpoint in endpoints.items():
            inputs = example(model, endpoint, rows=5)
            answer = served[name](**inputs)
            compare(
                answer,
                endpoint(*inputs.values()),
                model.compute_dtype,
                f"signature {name!r} to answer as the model does",
            )
            for row in range(5):
                compare(
                    served[name](**_row(inputs, row)),
                    _row(answer, row),
                    model.compute_dtype,
                    f"rows of signature {name!r} not to depend on their batch (a "
                    "network with batch_statistics=True cannot be served)",
                )


def _row(tensors, row):
    """Return one row of each tensor of a dict."""
    return {key: value[row : row + 1] for key, value in tensors.items()}


# === Folders ===


def _new_version(base: Path, version: int | None) -> int:
    """Return the number of a version that does not exist yet."""
    names = [path.name for path in base.iterdir()] if base.exists() else []
    present = [int(name) for name in names if re.fullmatch("[0-9]+", name)]
    if version is None:
        return max(present, default=0) + 1
    if not is_integer(version) or not 1 <= version < 2**63:
        # TF Serving keeps the number in 64 bits.
        raise ValueError(f"Expected version in 1..2^63 - 1, got {version!r}.")
    if version in present:
        raise ValueError(f"Expected a new version, got {version}: it is in {base}.")
    return version


def _clean_temporaries(base: Path) -> None:
    """Remove the hidden folders that killed exports have left behind."""
    for path in base.glob(".tmp-*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and (int(match[1]) == os.getpid() or not is_running(int(match[1]))):
            shutil.rmtree(path)


def _sync_tree(folder: Path) -> None:
    """Wait until every file in a folder is on the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(os.path.join(parent, name))
        sync(parent)


@contextlib.contextmanager
def _storage_errors(base: Path) -> Iterator[None]:
    """Turn errors of the file system into a `StorageError`, within a context."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StorageError(f"cannot export to {base}: {reason}") from error
