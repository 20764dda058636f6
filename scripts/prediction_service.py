"""Answers requests to an export by TensorFlow Serving's gRPC interface.

The server runs in a process of its own. It has no batching, no REST, no watch for new
versions and no protection: it is for checks, and listens to this machine only. It needs
`pip install -r requirements-test.txt`.
"""

import contextlib
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import grpc
import tensorflow as tf
from cpp_saved_model import CppSavedModel

try:
    from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2
    from tensorflow_serving.apis import predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc as service_grpc
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}: pip install -r requirements-test.txt") from error

START_SECONDS = 120
WORKERS = 32
MESSAGES_OF_ANY_SIZE = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class PredictionService(service_grpc.PredictionServiceServicer):
    """TensorFlow Serving's gRPC interface to one version of one model.

    Args:
        folder: `<name>/<version>`, the name and the version that clients ask for.
    """

    def __init__(self, folder):
        self._name, self._version = folder.parent.name, int(folder.name)
        self._model = CppSavedModel(folder)

    def Predict(self, request, context):
        """Run the signature that the request names, and return its answer."""
        with _aborting(context):
            self._check_model(request.model_spec)
            name = request.model_spec.signature_name or "serving_default"
            signature = self._model.signatures.get(name)
            if signature is None:
                raise _invalid(
                    f"Expected signature {_names(self._model.signatures)}, got {name}."
                )
            inputs = _arrays(request.inputs, signature.inputs)
            keys = list(request.output_filter) or list(signature.outputs)
            if not set(keys) <= set(signature.outputs):
                raise _invalid(
                    f"Expected outputs {_names(signature.outputs)}, got {_names(keys)}."
                )
            answer = self._model.run(name, inputs, keys)
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            response.model_spec.version.value = self._version
            response.model_spec.signature_name = name
            for key, value in answer.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

    def GetModelMetadata(self, request, context):
        """Return the signatures, with the names, dtypes and shapes of their inputs."""
        with _aborting(context):
            self._check_model(request.model_spec)
            if list(request.metadata_field) != ["signature_def"]:
                fields = _names(request.metadata_field)
                raise _invalid(f"Expected metadata field signature_def, got {fields}.")
            signatures = metadata_pb2.SignatureDefMap(
                signature_def=self._model.signatures
            )
            response = metadata_pb2.GetModelMetadataResponse(
                model_spec=request.model_spec
            )
            response.model_spec.version.value = self._version
            response.metadata["signature_def"].Pack(signatures)
            return response

    def _check_model(self, spec):
        if not spec.name:
            raise _invalid("Expected the name of a model, got none.")
        version = spec.version.value or spec.version_label or self._version
        if (spec.name, version) != (self._name, self._version):
            raise tf.errors.NotFoundError(
                *(None, None),
                f"Expected model {self._name} in version {self._version}, got "
                f"{spec.name} in version {version}.",
            )


def _arrays(protos, infos):
    """Return the arrays in a request, and check their names and dtypes."""
    if set(protos) != set(infos):
        raise _invalid(f"Expected inputs {_names(infos)}, got {_names(protos)}.")
    for key, proto in protos.items():
        if proto.dtype != infos[key].dtype:
            got, expected = (tf.as_dtype(p.dtype).name for p in (proto, infos[key]))
            raise _invalid(f"Expected {key} of type {expected}, got {got}.")
    try:
        return {key: tf.make_ndarray(proto) for key, proto in protos.items()}
    except (TypeError, ValueError) as error:
        raise _invalid(f"Expected tensors, got {str(error).splitlines()[0]}") from error


def _names(keys):
    return ", ".join(sorted(keys)) or "none"


def _invalid(message):
    return tf.errors.InvalidArgumentError(None, None, message)


@contextlib.contextmanager
def _aborting(context):
    try:
        yield
    except tf.errors.OpError as error:
        # TensorFlow numbers its codes as gRPC does.
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[error.error_code], error.message)


def _serve(folder, pipe):
    """Run the server until the other end of the pipe is closed."""
    with ThreadPoolExecutor(WORKERS) as pool:
        server = grpc.server(pool, options=MESSAGES_OF_ANY_SIZE)
        service = PredictionService(folder)
        service_grpc.add_PredictionServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        pipe.send(f"127.0.0.1:{port}")
        with contextlib.suppress(EOFError):
            pipe.recv()
        server.stop(grace=5).wait()


@contextlib.contextmanager
def running_server(folder):
    """Yield the address and the process id of a server, which ends with the block."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_SECONDS):
            raise SystemExit(f"error: no server after {START_SECONDS} seconds")
        try:
            address = ours.recv()
        except EOFError:
            raise SystemExit("error: the server ended as it started") from None
        yield address, process.pid
    finally:
        ours.close()
        process.join(30)
        process.kill()
        process.join()
