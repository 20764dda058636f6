"""Conversion of signatures to LiteRT and ONNX."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from mvae_tf.models.base import BaseVAE
from mvae_tf.serving.signatures import Endpoint, compare, example

__all__ = ["write_converted"]


def write_converted(
    model: BaseVAE, endpoints: Mapping[str, Endpoint], folder: Path, format: str
) -> None:
    """Convert each signature but `generate`, and compare its answers with the model.

    The signatures are converted one by one, because LiteRT's converter keeps only one
    of several signatures that it is given at once.

    Args:
        model: model that is exported.
        endpoints: dict from the name of a signature to its function and inputs.
        folder: path of the folder to make, which takes one file per signature.
        format: "litert" or "onnx".

    Raises:
        ValueError: the converter does not take the network, a package is missing, or
            the answers are not those of the model.
    """
    convert, suffix = {"litert": (_litert, ".tflite"), "onnx": (_onnx, ".onnx")}[format]
    folder.mkdir()
    for name, endpoint in endpoints.items():
        if name == "generate":
            continue
        function = tf.function(endpoint.function, input_signature=endpoint.inputs)
        inputs = example(model, endpoint, rows=3)
        arrays = {key: value.numpy() for key, value in inputs.items()}
        content, answer = convert(function, model, arrays)
        answer = {key: tf.constant(value) for key, value in answer.items()}
        expected = endpoint(*inputs.values())
        compare(
            answer,
            expected,
            model.compute_dtype,
            f"{format} {name!r} to be the model's",
        )
        (folder / f"{name}{suffix}").write_bytes(content)


def _litert(function, model, inputs):
    """Convert a function for LiteRT; return the bytes and the converted answer.

    Args:
        function: `tf.function` with an input signature.
        model: model that the function belongs to.
        inputs: dict of arrays, a valid request.
    """
    concrete = [function.get_concrete_function()]
    # The converter needs an object that owns the variables. TensorFlow does not see
    # that a Keras model owns its own.
    holder = tf.Module()
    holder.held = function, [variable.value for variable in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(concrete, holder)
    try:
        content = converter.convert()
    except Exception as error:  # A class of the converter's own, without a public name.
        raise ValueError(
            "Expected a network that LiteRT's converter takes, such as 'mlp', got "
            f"{model.network.name!r}."
        ) from error
    with warnings.catch_warnings():
        # TensorFlow warns that its interpreter will move to another package.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=content)
    return content, interpreter.get_signature_runner()(**inputs)


def _onnx(function, model, inputs):
    """Convert a function for ONNX; the arguments and results are as in `_litert`."""
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ValueError(
            "Expected the packages tf2onnx and onnxruntime for format 'onnx' (pip "
            f"install tf2onnx onnxruntime), got none: {error}."
        ) from error
    proto, _ = tf2onnx.convert.from_function(function, function.input_signature)
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answer = dict(zip(names, session.run(None, inputs), strict=True))
    return content, answer
