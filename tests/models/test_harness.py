"""Every registered model, and the variants of each, against the harness."""

import harness
import pytest

# The base case of every model, and variants whose bound differs.
BOUNDED = {"mvae-gaussian", "m_vae-priors", "cp_vae-relaxed"}


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.label)


each_case = each(harness.CASES)


@pytest.fixture(scope="module", params=harness.CASES, ids=lambda case: case.label)
def trained(request):
    """A model after two steps and a shove, with its images and labels."""
    case = request.param
    x, y = case.data()
    model = case.compiled()
    model.fit(harness.dataset(x, y), verbose=0)
    harness.perturb(model)
    return model if case.graph else harness.uncompiled(model), x, y


def test_shapes(trained):
    harness.check_shapes(*trained)
    harness.check_static_shapes(*trained)


def test_answers(trained):
    harness.check_answers(*trained)


def test_seeded_answers(trained):
    harness.check_seeded_answers(*trained)


def test_evaluation(trained):
    harness.check_evaluation(*trained)


def test_summary_of_the_model(trained, capsys):
    trained[0].summary()
    assert "Total params" in capsys.readouterr().out


def test_keras_file(trained, tmp_path):
    harness.check_keras_file(*trained, tmp_path)


@each_case
def test_configuration(case):
    harness.check_config(case)


@each_case
def test_gradients(case):
    harness.check_gradients(case)


@each_case
def test_inputs(case):
    harness.check_inputs(case)


@each([case for case in harness.CASES if case.graph])
def test_eager_and_graph(case):
    harness.check_eager_and_graph(case)


@each([case for case in harness.CASES if case.label == case.model])
def test_learning(case):
    harness.check_learning(case)


@each([c for c in harness.CASES if c.bounded and c.label in {c.model, *BOUNDED}])
def test_bounds(case):
    harness.check_bounds(case)


@each([case for case in harness.CASES if not case.bounded])
def test_no_bound(case):
    harness.check_no_bound(case)
