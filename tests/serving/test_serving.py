"""Exports behind a gRPC server: many clients at once, bad requests, lost clients."""

import importlib
import multiprocessing
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "saved_models" / "mvae-gs-digits"
MODEL = DEMO.name
IMAGES = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")


@pytest.fixture(scope="module")
def serving_check():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        yield importlib.import_module("serving_check")


@pytest.fixture(scope="module")
def address(serving_check):
    with serving_check.running_server(DEMO / "1") as (address, _):
        yield address


@pytest.fixture
def stub(serving_check, address):
    with serving_check.connection(address) as stub:
        yield stub


@pytest.fixture
def encode_request(serving_check):
    return serving_check.predict_request(MODEL, "encode", {"x": IMAGES})


@pytest.fixture(scope="module")
def served():
    return tf.saved_model.load(str(DEMO / "1")).signatures


# === The check ===


def test_the_demo_model_passes_with_32_clients(serving_check, capsys):
    threads, processes = threading.active_count(), multiprocessing.active_children()
    serving_check.main(["--requests", "5"])
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "OK"
    assert lines[0] == f"Model {MODEL}, version 1: 32 clients, 1 to 34 rows per request"
    # Requests, errors, and answers that have the bits of the serial answers.
    (row,) = [line.split() for line in lines if line.startswith("all ")]
    assert row[1:4] == ["160", "0", "160"]
    assert threading.active_count() == threads
    assert multiprocessing.active_children() == processes


@pytest.mark.extra
def test_a_fresh_colour_model_passes(serving_check, tmp_path):
    network = {"name": "mlp", "hidden": 8}
    model = mvae_tf.create(
        "mvae",
        input_shape=(8, 8, 3),
        num_components=3,
        num_classes=2,
        network=network,
    )
    folder = mvae_tf.export(model, tmp_path / "colours", version=3)
    report = serving_check.check(folder, clients=4, requests=5)
    assert list(report.failures(tolerance=1e-5)) == []
    assert len(report.replies) == 20
    # Answers that must differ show that answers are compared.
    assert 0 < report.batches < 1e-5


def test_what_does_not_hold_is_said(serving_check):
    fine = serving_check.Reply("encode", 0.1, None, 2e-6)
    lost = serving_check.Reply("encode", 0.1, "UNAVAILABLE: gone", np.inf)
    report = serving_check.Report(
        *(0.0, 1e-7, [fine, fine], 1.0),
        *(700.0, 730.0, 790.0, 731.0),
    )
    assert list(report.failures(1e-5)) == []
    (line,) = report.failures(1e-6)
    assert line == "answers differ by 2e-06, more than 1e-06"
    (line,) = report._replace(batches=1e-4).failures(1e-5)
    assert line == "answers differ by 0.0001, more than 1e-05"
    (line,) = report._replace(loaders=np.inf).failures(1e-5)
    assert line == "answers differ by inf, more than 1e-05"
    (line,) = report._replace(replies=[fine, lost, lost]).failures(1e-5)
    assert line == "2 errors, the first UNAVAILABLE: gone"
    (line,) = report._replace(end=790.0).failures(1e-5)
    assert line.startswith("memory grew by 60.0 MB, more than")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"a": [1.0, 3.0]}, 0.0),
        ({"a": [1.0, 4.0]}, 0.25),
        ({"a": [1.0, np.nan]}, np.inf),
        ({"a": [1.0]}, np.inf),
        ({"b": [1.0, 3.0]}, np.inf),
        ({}, np.inf),
    ],
)
def test_distance_of_answers(serving_check, answer, expected):
    answer = {key: np.array(value) for key, value in answer.items()}
    assert serving_check.distance(answer, {"a": np.array([1.0, 3.0])}) == expected


def test_a_wrong_answer_is_found(serving_check, stub, encode_request):
    answer = serving_check.predict(stub, encode_request)
    question = serving_check.Question("encode", encode_request, answer)
    assert serving_check.ask(stub, question).distance == 0.0
    wrong = answer | {"mean": answer["mean"] + 1e-3}
    reply = serving_check.ask(stub, question._replace(answer=wrong))
    assert 1e-4 < reply.distance < 1e-3


def test_a_folder_without_versions(serving_check, tmp_path):
    with pytest.raises(SystemExit, match="error: no version folder"):
        serving_check.main([str(tmp_path)])


@pytest.mark.parametrize("option", ["--clients", "--requests"])
def test_at_least_one(serving_check, option, capsys):
    with pytest.raises(SystemExit):
        serving_check.main([option, "0"])
    assert "expected a number above 0, got 0" in capsys.readouterr().err


def test_a_broken_export(serving_check, tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(SystemExit, match="error: Could not find SavedModel"):
        serving_check.main([str(tmp_path)])


# === The server ===


@pytest.mark.parametrize("rows", [0, 3])
def test_it_answers_as_the_eager_signatures_do(serving_check, stub, served, rows):
    signatures = serving_check.signatures_of(stub, MODEL)
    assert set(signatures) == set(served)
    for name, signature in signatures.items():
        inputs = serving_check.example(signature, rows, seed=1)
        request = serving_check.predict_request(MODEL, name, inputs)
        answer = serving_check.predict(stub, request)
        expected = served[name](**{k: tf.constant(v) for k, v in inputs.items()})
        assert answer.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(answer[key], value, rtol=1e-6, atol=1e-6)


def test_it_names_what_it_served(stub, encode_request):
    encode_request.output_filter.append("weights")
    encode_request.model_spec.version.value = 1
    response = stub.Predict(encode_request, timeout=60)
    assert list(response.outputs) == ["weights"]
    assert response.model_spec == encode_request.model_spec


def test_the_signature_is_serving_default_if_none_is_named(
    serving_check, stub, encode_request, served
):
    encode_request.model_spec.signature_name = ""
    images = serving_check.predict(stub, encode_request)["images"]
    expected = served["serving_default"](x=tf.constant(IMAGES))["images"]
    np.testing.assert_allclose(images, expected, rtol=1e-6, atol=1e-6)


def spec(**fields):
    def change(request):
        for key, value in fields.items():
            setattr(request.model_spec, key, value)

    return change


def version_2(request):
    request.model_spec.version.value = 2


def inputs(**arrays):
    def change(request):
        request.inputs.clear()
        for key, value in arrays.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))

    return change


def unfinished(request):
    request.inputs["x"].tensor_content = request.inputs["x"].tensor_content[:7]


NOT_FOUND, INVALID = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (spec(name="other"), NOT_FOUND, "Expected model mvae-gs-digits in version 1, "),
        (version_2, NOT_FOUND, "got mvae-gs-digits in version 2."),
        (spec(version_label="new"), NOT_FOUND, "got mvae-gs-digits in version new."),
        (spec(name=""), INVALID, "Expected the name of a model, got none."),
        (spec(signature_name="paint"), INVALID, "Expected signature decode, .* paint"),
        (inputs(), INVALID, "Expected inputs x, got none."),
        (inputs(image=IMAGES), INVALID, "Expected inputs x, got image."),
        (inputs(x=IMAGES, y=IMAGES), INVALID, "Expected inputs x, got x, y."),
        (inputs(x=IMAGES.astype("float64")), INVALID, "type float32, got float64."),
        (inputs(x="text"), INVALID, "Expected x of type float32, got string."),
        (inputs(x=IMAGES[:, :7]), INVALID, r"\[2,7,8,1\]"),
        (inputs(x=IMAGES[0]), INVALID, r"\[8,8,1\]"),
        (unfinished, INVALID, "Expected tensors, got"),
        (
            lambda request: request.output_filter.append("images"),
            INVALID,
            "Expected outputs mean, stddev, weights, got images.",
        ),
    ],
)
def test_a_bad_request_gets_one_clear_status(
    serving_check, stub, encode_request, change, code, message
):
    good = serving_check.predict(stub, encode_request)
    change(encode_request)
    with pytest.raises(grpc.RpcError, match=message) as caught:
        stub.Predict(encode_request, timeout=60)
    assert caught.value.code() == code
    assert "\n" not in caught.value.details()
    again = serving_check.predict(
        stub, serving_check.predict_request(MODEL, "encode", {"x": IMAGES})
    )
    assert serving_check.distance(again, good) == 0.0


def test_rows_must_match_between_inputs(serving_check, stub):
    arrays = {"x0": IMAGES, "x1": IMAGES[:1], "position": np.zeros(2, "float32")}
    request = serving_check.predict_request(MODEL, "interpolate", arrays)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, timeout=60)
    assert caught.value.code() == INVALID
    assert "Expected as many rows of" in caught.value.details()


def test_other_metadata_is_refused(serving_check, stub):
    request = serving_check.metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = MODEL
    with pytest.raises(grpc.RpcError, match="metadata field") as caught:
        stub.GetModelMetadata(request, timeout=60)
    assert caught.value.code() == INVALID


def test_a_client_that_disconnects_does_not_hurt_others(
    serving_check, address, stub, encode_request
):
    answer = serving_check.predict(stub, encode_request)
    question = serving_check.Question("encode", encode_request, answer)
    seeds = np.zeros([10_000, 2], "int32")
    long = serving_check.predict_request(MODEL, "generate", {"seed": seeds})
    with serving_check.connection(address) as other:
        gone = [other.Predict.future(long, timeout=60) for _ in range(4)]
        before = serving_check.ask(stub, question)
    # Leaving the block cut the connection of those that were still waiting.
    assert grpc.StatusCode.CANCELLED in [future.code() for future in gone]
    after = [serving_check.ask(stub, question) for _ in range(10)]
    assert all(reply.distance == 0.0 for reply in [before, *after])
