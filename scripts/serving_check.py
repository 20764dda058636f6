"""Checks that an export can be served: loads it as servers do, and asks many times.

Usage: python scripts/serving_check.py [EXPORT_BASE] [--clients N] [--requests N]

TensorFlow Serving itself is not run, because no Python package contains it. Two parts
of it that Python can reach are run. `CppSavedModel` is the loader and the session of
Serving, in C++: the `serve` tag, the restored variables, the init ops and the
signatures do not pass through Python. `PredictionService` has Serving's gRPC protocol,
from its own `tensorflow-serving-api`. The check says nothing about Serving's batching,
its REST interface, its watch for new versions, its limits and its speed.

Needs `pip install -r requirements-test.txt`. The exit status is 0 only if no condition
failed.
"""

import argparse
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import psutil
import tensorflow as tf
from cpp_saved_model import CppSavedModel
from prediction_service import MESSAGES_OF_ANY_SIZE, running_server
from sample_export import newest_version
from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc as service_grpc

DEMO = Path(__file__).parent.parent / "saved_models" / "mvae-gs-digits"
ROWS = (1, 2, 3, 5, 8, 13, 21, 34)
MEMORY_LIMIT = 16.0  # MB that the server may grow by once it is warm.
ANSWER_SECONDS = 60


# === The clients ===


@contextlib.contextmanager
def connection(address):
    """Yield a stub of the service, on a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, own + MESSAGES_OF_ANY_SIZE) as channel:
        yield service_grpc.PredictionServiceStub(channel)


def signatures_of(stub, name):
    """Ask the server for the signatures of the model, a dict by name."""
    request = metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = name
    response = stub.GetModelMetadata(request, timeout=ANSWER_SECONDS)
    signatures = metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return dict(signatures.signature_def)


def predict_request(model, signature, inputs):
    """Make a request from a dict of arrays."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


def predict(stub, request):
    """Send a request; return the answer as a dict of arrays."""
    response = stub.Predict(request, timeout=ANSWER_SECONDS)
    return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}


def example(signature, rows, seed):
    """Draw random valid inputs of a signature of this library, a dict of arrays."""
    random = np.random.default_rng(seed)
    draw = {
        "z": lambda shape: random.normal(size=shape),
        "weights": lambda shape: random.dirichlet(np.ones(shape[1]), shape[0]),
        "seed": lambda shape: random.integers(1000, size=shape),
        "label": np.zeros,
    }
    inputs = {}
    for key, info in sorted(signature.inputs.items()):
        shape = [rows, *(size.size for size in info.tensor_shape.dim[1:])]
        value = draw.get(key, lambda shape: random.uniform(size=shape))(shape)
        inputs[key] = value.astype(tf.as_dtype(info.dtype).as_numpy_dtype)
    return inputs


class Question(NamedTuple):
    """A request, and the answer to it while no other client asks."""

    signature: str
    request: predict_pb2.PredictRequest
    answer: dict


class Reply(NamedTuple):
    """The reply to a question: seconds, and an error or the distance to its answer."""

    signature: str
    seconds: float
    error: str | None
    distance: float


def distance(answer, expected):
    """Return the largest difference relative to 1 + |expected|.

    It is infinite for answers that cannot be compared.
    """
    if answer.keys() != expected.keys():
        return np.inf
    largest = 0.0
    for key, value in expected.items():
        if answer[key].shape != value.shape or not np.all(np.isfinite(answer[key])):
            return np.inf
        difference = np.abs(answer[key] - value) / (1.0 + np.abs(value))
        largest = max(largest, float(difference.max(initial=0.0)))
    return largest


def prepare(stub, model):
    """Ask about all signatures and batch sizes, and compare batches with rows.

    Returns:
        List of `Question`, and the largest distance of a row of their answers from the
        answer to that row alone.
    """
    questions, largest = [], 0.0
    for name, signature in sorted(signatures_of(stub, model).items()):
        for rows in ROWS:
            inputs = example(signature, rows, seed=rows)
            request = predict_request(model, name, inputs)
            answer = predict(stub, request)
            questions.append(Question(name, request, answer))
            for row in range(rows):
                one = slice(row, row + 1)
                alone = {key: value[one] for key, value in inputs.items()}
                largest = max(
                    largest,
                    distance(
                        {key: value[one] for key, value in answer.items()},
                        predict(stub, predict_request(model, name, alone)),
                    ),
                )
    return questions, largest


def ask(stub, question):
    """Ask a question, and return the `Reply`."""
    start = time.perf_counter()
    try:
        answer = predict(stub, question.request)
    except grpc.RpcError as error:
        seconds = time.perf_counter() - start
        text = f"{error.code().name}: {error.details()}"
        return Reply(question.signature, seconds, text, np.inf)
    seconds = time.perf_counter() - start
    return Reply(question.signature, seconds, None, distance(answer, question.answer))


def ask_at_once(address, questions, clients, requests, process):
    """Ask with many clients; return all replies, and the highest memory in MB."""
    together = threading.Barrier(clients)

    def client(number):
        order = np.random.default_rng(number).integers(len(questions), size=requests)
        with connection(address) as stub:
            together.wait(ANSWER_SECONDS)
            return [ask(stub, questions[i]) for i in order]

    highest = memory(process)
    with ThreadPoolExecutor(clients) as pool:
        waiting = futures = [pool.submit(client, number) for number in range(clients)]
        while waiting:
            waiting = wait(waiting, timeout=0.05).not_done
            highest = max(highest, memory(process))
    return [reply for future in futures for reply in future.result()], highest


def memory(process):
    """Return the resident memory of a process in MB of 10^6 bytes."""
    return process.memory_info().rss / 1e6


# === The check ===


def compare_loaders(folder):
    """Return the largest distance between answers of three ways to load an export."""
    cpp = CppSavedModel(folder)
    inputs = {
        name: example(signature, rows=5, seed=0)
        for name, signature in cpp.signatures.items()
    }
    largest = 0.0
    for answers in (eager_answers(folder, inputs), session_answers(folder, inputs)):
        for name, answer in answers.items():
            expected = cpp.run(name, inputs[name], list(answer))
            largest = max(largest, distance(answer, expected))
    return largest


def eager_answers(folder, inputs):
    """Return the answers of `tf.saved_model.load` to inputs, by signature."""
    signatures = tf.saved_model.load(str(folder)).signatures
    answers = {}
    for name, arrays in inputs.items():
        tensors = {key: tf.constant(value) for key, value in arrays.items()}
        answer = signatures[name](**tensors)
        answers[name] = {key: value.numpy() for key, value in answer.items()}
    return answers


def session_answers(folder, inputs):
    """Return the answers of a `Session` to inputs, by signature."""
    answers = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        load = tf.compat.v1.saved_model.loader.load
        signatures = load(session, ["serve"], str(folder)).signature_def
        for name, arrays in inputs.items():
            feeds, outputs = signatures[name].inputs, signatures[name].outputs
            answers[name] = session.run(
                {key: info.name for key, info in outputs.items()},
                {feeds[key].name: value for key, value in arrays.items()},
            )
    return answers


class Report(NamedTuple):
    """The results of a check: distances between answers, replies, and memory in MB."""

    loaders: float
    batches: float
    replies: list
    seconds: float
    start: float
    warm: float
    highest: float
    end: float

    def failures(self, tolerance):
        """Yield a line for each condition that did not hold."""
        errors = [reply.error for reply in self.replies if reply.error]
        if errors:
            yield f"{len(errors)} errors, the first {errors[0]}"
        answered = [reply.distance for reply in self.replies if not reply.error]
        largest = max([self.loaders, self.batches, *answered])
        if largest > tolerance:
            yield f"answers differ by {largest:.2g}, more than {tolerance:g}"
        growth = self.end - self.warm
        if growth > MEMORY_LIMIT:
            yield f"memory grew by {growth:.1f} MB, more than {MEMORY_LIMIT:g}"

    def show(self):
        """Print the results."""
        rate = len(self.replies) / self.seconds
        print(f"{len(self.replies)} requests, {rate:.0f} per second\n")
        print("signature        requests  errors  bit-equal  median ms  99 % ms")
        for name in sorted({reply.signature for reply in self.replies}):
            print_row(name, [one for one in self.replies if one.signature == name])
        print_row("all", self.replies)
        print(
            f"\nlargest difference of 3 loaders {self.loaders:.1g}, "
            f"of rows in batches and alone {self.batches:.1g}\n"
            f"server memory, MB: {self.start:.0f} at the start, {self.warm:.0f} warm, "
            f"{self.highest:.0f} highest, {self.end:.0f} at the end"
        )


def check(folder, clients, requests):
    """Check an export, and return the `Report`.

    Args:
        folder: `<name>/<version>` of the export.
        clients: number of clients that ask at once.
        requests: number of requests of each client. Each of them sends as many before,
            to warm the server up.
    """
    loaders = compare_loaders(folder)
    with running_server(folder) as (address, process_id):
        process = psutil.Process(process_id)
        start = memory(process)
        with connection(address) as stub:
            questions, batches = prepare(stub, folder.parent.name)
        load = (address, questions, clients, requests, process)
        ask_at_once(*load)
        warm = memory(process)
        began = time.perf_counter()
        replies, highest = ask_at_once(*load)
        seconds = time.perf_counter() - began
        end = memory(process)
    return Report(loaders, batches, replies, seconds, start, warm, highest, end)


def print_row(name, replies):
    """Print one row of the table."""
    seconds = [reply.seconds for reply in replies]
    median, high = 1000 * np.percentile(seconds, [50, 99])
    errors = sum(reply.error is not None for reply in replies)
    equal = sum(reply.distance == 0.0 for reply in replies)
    counts = f"{len(replies):8}  {errors:6}  {equal:9}"
    print(f"{name:<15}  {counts}  {median:9.1f}  {high:7.1f}")


def main(arguments=None):
    """Check an export, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, nargs="?", default=DEMO)
    parser.add_argument("--clients", type=positive, default=32)
    parser.add_argument(
        "--requests", type=positive, default=200, help="of each client (default 200)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-5,
        help="difference relative to 1 + |answer| (default 1e-5; 4e-3 for float16 and "
        "3e-2 for bfloat16)",
    )
    arguments = parser.parse_args(arguments)
    tf.get_logger().setLevel("ERROR")  # The loader of sessions warns that it is old.
    folder = newest_version(arguments.base).resolve()
    print(
        f"Model {folder.parent.name}, version {folder.name}: {arguments.clients} "
        f"clients, {ROWS[0]} to {ROWS[-1]} rows per request"
    )
    try:
        report = check(folder, arguments.clients, arguments.requests)
    except tf.errors.OpError as error:
        raise SystemExit(f"error: {error.message}") from error
    report.show()
    failures = list(report.failures(arguments.tolerance))
    if failures:
        raise SystemExit("\n".join(f"FAILED: {line}" for line in failures))
    print("OK")


def positive(text):
    """Read a whole number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
