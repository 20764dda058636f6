"""Runs SavedModels in the C++ loader and session that TensorFlow Serving uses.

`tf.saved_model.load` and even `tf.compat.v1.saved_model.loader.load` read a SavedModel
in Python. TensorFlow's C API, which the library in TensorFlow's wheel exports, has the
C++ function `LoadSavedModel` that TensorFlow Serving calls.
"""

import contextlib
import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


@cache
def _c_api():
    """Load TensorFlow's C API from the library in TensorFlow's wheel."""
    path = next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc*"))
    library = ctypes.CDLL(str(path))
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    size, many, length = ctypes.c_size_t, ctypes.POINTER, ctypes.c_int64
    outputs, handles = many(_Output), many(handle)
    for name, result, *arguments in (
        ("TF_NewStatus", handle),
        ("TF_DeleteStatus", None, handle),
        ("TF_GetCode", number, handle),
        ("TF_Message", text, handle),
        ("TF_NewSessionOptions", handle),
        ("TF_DeleteSessionOptions", None, handle),
        ("TF_NewGraph", handle),
        ("TF_NewBuffer", many(_Buffer)),
        ("TF_DeleteBuffer", None, many(_Buffer)),
        ("TF_LoadSessionFromSavedModel", handle)
        + (handle, handle, text, many(text), number, handle, many(_Buffer), handle),
        ("TF_GraphOperationByName", handle, handle, text),
        ("TF_AllocateTensor", handle, number, many(length), number, size),
        ("TF_DeleteTensor", None, handle),
        ("TF_TensorData", handle, handle),
        ("TF_TensorByteSize", size, handle),
        ("TF_NumDims", number, handle),
        ("TF_Dim", length, handle, number),
        ("TF_SessionRun", None, handle, handle, outputs, handles, number, outputs)
        + (handles, number, handle, number, handle, handle),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@contextlib.contextmanager
def _status():
    """Yield a status for a C function to fill in, and raise it if it is an error."""
    status = _c_api().TF_NewStatus()
    try:
        yield status
        code, message = _c_api().TF_GetCode(status), _c_api().TF_Message(status)
    finally:
        _c_api().TF_DeleteStatus(status)
    if code:
        error = tf.compat.v1.errors.exception_type_from_error_code(code)
        raise error(None, None, message.decode().splitlines()[0])


class CppSavedModel:
    """A SavedModel in the C++ loader and session that TensorFlow Serving uses.

    It stays loaded until the process ends. `run` may be called from many threads.

    Args:
        folder: folder of the SavedModel.

    Raises:
        tf.errors.OpError: the folder cannot be loaded.
    """

    def __init__(self, folder):
        c = _c_api()
        options, buffer = c.TF_NewSessionOptions(), c.TF_NewBuffer()
        self._graph = c.TF_NewGraph()
        tags = (ctypes.c_char_p * 1)(b"serve")
        path = str(folder).encode()
        try:
            with _status() as status:
                self._session = c.TF_LoadSessionFromSavedModel(
                    options, None, path, tags, 1, self._graph, buffer, status
                )
            content = ctypes.string_at(buffer.contents.data, buffer.contents.length)
        finally:
            c.TF_DeleteBuffer(buffer)
            c.TF_DeleteSessionOptions(options)
        meta_graph = tf.compat.v1.MetaGraphDef.FromString(content)
        self.signatures = {
            name: signature
            for name, signature in meta_graph.signature_def.items()
            if name != "__saved_model_init_op"
        }

    def run(self, name, inputs, keys):
        """Run a signature and return its answer.

        Args:
            name: name of the signature.
            inputs: dict with an array for each input of the signature, of its dtype.
            keys: names of the outputs to return.

        Returns:
            Dict of arrays.

        Raises:
            tf.errors.OpError: the graph refuses the inputs, such as a wrong shape.
        """
        c, signature = _c_api(), self.signatures[name]
        feeds = self._places(signature.inputs, inputs)
        fetches = self._places(signature.outputs, keys)
        results = (ctypes.c_void_p * len(keys))()
        values = (ctypes.c_void_p * len(inputs))()
        try:
            for i, (key, value) in enumerate(inputs.items()):
                values[i] = _to_tensor(value, signature.inputs[key].dtype)
            with _status() as status:
                c.TF_SessionRun(
                    *(self._session, None, feeds, values, len(inputs)),
                    *(fetches, results, len(keys), None, 0, None, status),
                )
            return {
                key: _to_array(result, tf.as_dtype(signature.outputs[key].dtype))
                for key, result in zip(keys, results, strict=True)
            }
        finally:
            for tensor in (*values, *results):
                c.TF_DeleteTensor(tensor)

    def _places(self, infos, keys):
        """Find the places in the graph of the named inputs or outputs."""
        names = [infos[key].name.split(":") for key in keys]
        find = _c_api().TF_GraphOperationByName
        return (_Output * len(names))(
            *(_Output(find(self._graph, op.encode()), int(i)) for op, i in names)
        )


def _to_tensor(array, dtype):
    array = np.ascontiguousarray(array)
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor = _c_api().TF_AllocateTensor(dtype, shape, array.ndim, array.nbytes)
    ctypes.memmove(_c_api().TF_TensorData(tensor), array.ctypes.data, array.nbytes)
    return tensor


def _to_array(tensor, dtype):
    c = _c_api()
    shape = [c.TF_Dim(tensor, axis) for axis in range(c.TF_NumDims(tensor))]
    content = ctypes.string_at(c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor))
    return np.frombuffer(content, dtype.as_numpy_dtype).reshape(shape)
