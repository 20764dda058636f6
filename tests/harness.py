"""The checks that every registered model must pass.

`CASES` holds a tiny configuration of every registered name, so a new model is tested
without writing a test, and the variants of those that have any. Each `check_*` takes a
case, or a trained model with its images, and asserts one property.

Tracing takes nearly all of the time, so only the cases marked `graph` are compiled.
"""

import functools
import inspect
import json
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf.models import registry
from mvae_tf.noise import BatchNoise, step_seed
from mvae_tf.optimizers import FusedAdam

CONV = {
    "name": "conv",
    "filters": [4, 8],
    "units": 8,
    "feature_map": [2, 2, 4],
    "decoder": [[4, 2], [4, 2]],
}
TINY = {
    "latent_dim": 2,
    "num_components": 3,
    "num_pseudo_inputs": 4,
    "hidden": 8,
    "network": {"name": "mlp", "hidden": 8},
}


@dataclass(frozen=True)
class Case:
    """A tiny configuration of a registered model, and data for it.

    Attributes:
        label: name of the case.
        model: registered name.
        arguments: arguments of the model that differ from `TINY`.
        graph: whether its functions are compiled.
        stratified: whether the model draws from each component of q at once.
        labels: whether the data has labels, though no part of p(x) depends on them.
    """

    label: str
    model: str
    arguments: dict = field(default_factory=dict)
    graph: bool = False
    stratified: bool = False
    labels: bool = False

    @property
    def bounded(self):
        return registry.get(self.model).no_bound is None

    def make(self, **changes):
        known = registry.arguments(registry.get(self.model))
        tiny = {key: value for key, value in TINY.items() if key in known}
        defaults = {"input_shape": (4, 4, 1)} | tiny
        return mvae_tf.create(self.model, **(defaults | self.arguments | changes))

    def compiled(self, learning_rate=1e-3, run_eagerly=True, **changes):
        model = self.make(**changes)
        # With a small epsilon, Adam turns the rounding of a zero gradient into steps.
        optimizer = FusedAdam(learning_rate, epsilon=1e-3)
        model.compile(optimizer, run_eagerly=run_eagerly)
        return model

    def data(self, num=12, seed=0):
        """Images of three noisy prototypes, and labels or None."""
        rng = np.random.default_rng(seed)
        shape = self.arguments.get("input_shape", (4, 4, 1))
        prototypes = np.random.default_rng(0).choice([0.1, 0.9], size=(3, *shape))
        labels = rng.integers(0, 3, size=num)
        x = prototypes[labels] + rng.normal(0.0, 0.05, size=(num, *shape))
        x = np.clip(x, 0.0, 1.0).astype("float32")
        labelled = self.labels or "num_classes" in self.arguments
        return x, labels if labelled else None


def _variants():
    def mask(name="gumbel", **arguments):
        return {"mask": {"name": name, **arguments}}

    def mixing(**arguments):
        return {"mixing": {"name": "dirichlet", **arguments}}

    labels = {"num_classes": 3}
    conv = {"input_shape": (8, 8, 3), "network": CONV, "likelihood": "sse"}
    code = mixing(kl_form="clipped", reparameterized=False, prior=0.17)
    fixed = {"mask": None, "likelihood": "discretized_logistic"}
    priors = {"prior_means": [-1, 0, 1], "prior_stddevs": [1, 2, 3]}
    dropout = {"network": {"name": "mlp", "hidden": 8, "dropout": 0.1}}
    unequal = {"component_weights": [0.2, 0.5, 0.3]}
    relaxed = {"relaxation": "relaxed", "temperature": "annealed", "logits": "elu"}
    relaxed |= {"extra_layer": False}
    fixed_prior = {"train_prior": False, "prior_init": "uniform"}
    of_code = {"z_condition": "sample"} | relaxed | fixed_prior
    return [
        Case("vae-labels-vectors", "vae", labels | {"input_shape": (6,)}),
        Case("vae-conv", "vae", conv),
        Case("mvae-gaussian", "mvae", mask("gaussian") | mixing(concentration="raw")),
        Case("mvae-fixed", "mvae", fixed | {"independence": "symmetric_kl"}),
        Case("mvae-concentration", "mvae", mask(placement="concentration") | code),
        Case(
            "mvae-unrenormalized",
            "mvae",
            mask(renormalize=False) | {"independence": None},
        ),
        Case("mvae-one-component", "mvae", {"num_components": 1}),
        Case("mvae-conv", "mvae", conv | labels, graph=True),
        Case("m_vae-conv", "m_vae", conv),
        Case("cp_vae-sample", "cp_vae", {"z_condition": "sample"}),
        Case("cp_vae-pi", "cp_vae", {"z_condition": "pi"}),
        Case("cp_vae-relaxed", "cp_vae", of_code, graph=True),
        Case("indqp_vae-uniform", "indqp_vae", relaxed | {"logits": "zero"}),
        Case("indq_vae-vectors", "indq_vae", {"input_shape": (6,)}),
        Case("mog_vae-means", "mog_vae", fixed_prior | {"kl_form": "mean_of_logs"}),
        Case(
            "m_vae-priors", "m_vae", labels | priors | dropout | {"kl_reduction": "sum"}
        ),
        Case("info_vae-alpha", "info_vae", {"alpha": 0.5}),
        Case("mae-free-bits", "mae", {"free_bits": 0.01} | labels),
        Case("cgm-supervised", "cgm", {"supervised": True}, labels=True),
        Case("cgm-joint", "cgm", {"granularity": "joint"}),
        Case("msvi-conv", "msvi", conv | labels, stratified=True),
        Case("hvamp_vae-vectors", "hvamp_vae", {"input_shape": (6,)}),
        Case("gmmp_vae-mc", "gmmp_vae", unequal | {"kl_form": "mc"}, stratified=True),
        Case("gmmp_vae-conv", "gmmp_vae", conv | {"prior": "standard"}),
    ]


STRATIFIED = {"gmmp_vae", "msvi"}
# Those whose step differs from that of a compiled one by a weight or a density alone.
EAGER = {"beta_vae", "cb_vae", "wwae", "mog_vae", "vamp_vae", "hvae"}
EAGER |= {"indq_vae", "indp_vae", "indqp_vae"}
CASES = [
    Case(name, name, graph=name not in EAGER, stratified=name in STRATIFIED)
    for name in mvae_tf.names()
] + _variants()


def dataset(x, y=None, batch_size=8):
    """Batches of `x`, or of `(x, y)`, as a `tf.data.Dataset`."""
    arrays = x if y is None else (x, y)
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)


def arrays_of(model):
    return [variable.numpy() for variable in model.variables]


def differ(first, second):
    return any(np.any(a != b) for a, b in zip(first, second, strict=True))


class Uncompiled:
    """Runs the methods of a model eagerly, in place of its compiled functions."""

    def get(self, function, **static):
        return functools.partial(function, **static)


def uncompiled(model):
    model._graph_functions = Uncompiled()
    return model


def perturb(model, scale=0.3, seed=0):
    """Moves every weight, so that outputs depend on latents as after training."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0.0, scale, variable.shape))


def assert_equal_variables(first, second):
    for a, b, variable in zip(
        arrays_of(first), arrays_of(second), first.variables, strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=variable.path)


def labels_at(y, index):
    return None if y is None else y[index]


# === Answers of a trained model ===


def check_shapes(model, x, y):
    """Documented shapes and ranges, for NumPy arrays and for tensors."""
    num, components, latent_dim = len(x), model.num_components, model.latent_dim
    posterior = model.encode(x, y)
    assert posterior["mean"].shape == (num, components, latent_dim)
    assert posterior["stddev"].shape == (num, components, latent_dim)
    assert np.all(posterior["stddev"] > 0)
    np.testing.assert_allclose(np.sum(posterior["weights"], 1), 1.0, atol=1e-6)
    z, weights = posterior["mean"], posterior["weights"]
    low, high = model.likelihood.low, model.likelihood.high
    for images in (
        model.decode(z, weights, y),
        model.decode(z.numpy(), None, y),
        model.reconstruct(tf.constant(x), y),
        model.reconstruct(x, y, seed=3),
        model.generate(num, y=y, seed=0),
        model.generate(num, component=0),
    ):
        assert isinstance(images, tf.Tensor)
        assert images.shape == x.shape
        assert images.dtype == tf.float32
        assert np.min(images) >= low
        assert np.max(images) <= high
    frames = model.interpolate(x, x[::-1], 3, y)
    assert frames.shape == (num, 3, *x.shape[1:])


def check_static_shapes(model, x, y):
    """Graph code keeps what is known about shapes when the batch size is unknown."""
    labels = None if y is None else tf.TensorSpec([None, model.num_classes])
    images = tf.TensorSpec([None, *x.shape[1:]])
    function = tf.function(model.reconstruct_batch, autograph=False)
    traced = function.get_concrete_function(images, labels)
    assert traced.output_shapes == tf.TensorShape([None, *x.shape[1:]])


def check_answers(model, x, y):
    """What the methods say about each other."""
    same = {"rtol": 1e-5, "atol": 1e-6}
    posterior = model.encode(x, y)
    mixture = model.reconstruct(x, y)
    decoded = model.decode(posterior["mean"], posterior["weights"], y)
    np.testing.assert_allclose(mixture, decoded, **same)
    predicted = model.predict(dataset(x, y), verbose=0)
    np.testing.assert_allclose(predicted, mixture, **same)
    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        called = model(images, y)
    np.testing.assert_allclose(called, mixture, **same)
    assert np.any(tape.gradient(called, images) != 0)

    component = model.num_components - 1
    one_hot = tf.one_hot([component] * len(x), model.num_components)
    np.testing.assert_allclose(
        model.reconstruct(x, y, component=component),
        model.decode(posterior["mean"], one_hot, y),
        **same,
    )
    frames = model.interpolate(x, x[::-1], 3, y)
    last = model.reconstruct(x[::-1], y)
    np.testing.assert_allclose(frames[:, 0], mixture, **same)
    np.testing.assert_allclose(frames[:, -1], last, **same)
    assert not np.allclose(frames[:, 1], mixture, **same)


def check_seeded_answers(model, x, y):
    """A row is a function of the seed and of itself, not of its batch."""
    same = {"rtol": 1e-4, "atol": 1e-5}
    x, y = x[:4], labels_at(y, slice(4))
    order = [3, 0]
    labels = labels_at(y, order)
    drawn = model.reconstruct(x, y, seed=3).numpy()
    np.testing.assert_array_equal(drawn, model.reconstruct(x, y, seed=3))
    np.testing.assert_allclose(
        drawn[order], model.reconstruct(x[order], labels, seed=3), **same
    )
    assert not np.allclose(drawn, model.reconstruct(x, y, seed=4), **same)
    if model.no_bound is None:
        bound = model.elbo(x, y, seed=3).numpy()
        assert np.all(np.isfinite(bound))
        np.testing.assert_allclose(
            bound[order], model.elbo(x[order], labels, seed=3), rtol=1e-4, atol=1e-4
        )

    label = None if y is None else 1
    generated = model.generate(5, y=label, seed=5).numpy()
    np.testing.assert_array_equal(generated, model.generate(5, y=label, seed=5))
    np.testing.assert_allclose(
        generated[:2], model.generate(2, y=label, seed=5), **same
    )
    assert not np.allclose(generated, model.generate(5, y=label, seed=6), **same)
    assert not np.allclose(generated, model.generate(5, y=label), **same)


def check_bounds(case, draws=40):
    """ELBO and log-likelihood of one draw and of many are in order.

    Of models with one draw of the latents the first two are equal on average; the
    others weigh several draws by their importance.
    """
    model = case.make()
    x, y = case.data()
    bounds = [model.elbo(x, y, seed=seed) for seed in range(draws)]
    single = [model.log_likelihood(x, 1, y, seed=seed) for seed in range(draws)]
    many = [model.log_likelihood(x, 20, y, seed=seed) for seed in range(4)]
    difference = np.subtract(bounds, single)
    standard_error = np.std(difference, ddof=1) / np.sqrt(difference.size)
    gap = np.mean(difference)
    assert gap < 4 * standard_error + 1e-5
    if not case.stratified:
        assert gap > -4 * standard_error - 1e-5
    assert np.mean(many) > np.mean(single)


def check_no_bound(case):
    """A model without a bound refuses one and says why."""
    model = case.make()
    x, y = case.data()
    with pytest.raises(ValueError, match="with an evidence lower bound, got .+: .+"):
        model.elbo(x, y)


def check_evaluation(model, x, y):
    """`evaluate` gives the same numbers twice, whatever the batch size."""

    def evaluate(size):
        return model.evaluate(dataset(x, y, size), verbose=0, return_dict=True)

    x, y = x[:7], labels_at(y, slice(7))
    first, second, other = evaluate(4), evaluate(4), evaluate(7)
    assert first == second
    assert {"loss", *model.term_weights} <= set(first)
    by_batch = {k for k, term in model.terms.items() if term.per == "batch"} - {"mask"}
    by_batch |= {"loss"} if by_batch & set(model.final_weights) else set()
    for key in set(first) - by_batch:
        np.testing.assert_allclose(other[key], first[key], rtol=1e-4, err_msg=key)
    weighted = sum(model.final_weights[key] * first[key] for key in model.term_weights)
    np.testing.assert_allclose(first["loss"], weighted, rtol=1e-4)


def check_keras_file(model, x, y, folder):
    """`load_model` gives back weights, optimizer state and training itself."""
    path = folder / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert type(loaded) is type(model)
    assert_equal_variables(model, loaded)
    assert_equal_variables(model.optimizer, loaded.optimizer)
    assert loaded.get_config() == model.get_config()
    loaded.run_eagerly = model.run_eagerly
    for twin in (model, loaded):
        twin.fit(dataset(x, y, len(x)), verbose=0)
    assert_equal_variables(model, loaded)


# === Training of a case ===


def check_config(case):
    """The configuration is plain JSON, makes an equal model, and holds no code.

    It has every named parameter of the constructors, keyword-only ones too, except
    those that a class declares as `fixed`.
    """
    model = case.make()
    parents = [p for p in type(model).__mro__ if issubclass(p, mvae_tf.models.BaseVAE)]
    fixed = {name for parent in parents for name in vars(parent).get("fixed", ())}
    named = set()
    for parent in parents:
        if "__init__" in vars(parent):
            _, *parameters = inspect.signature(parent.__init__).parameters.values()
            named |= {p.name for p in parameters if "VAR" not in p.kind.name}
    assert (
        named - fixed
        <= set(model.get_config())
        <= named | {"name", "trainable", "dtype"}
    )
    text = json.dumps(model.get_config())
    assert "Lambda" not in text
    twin = type(model).from_config(json.loads(text))
    assert json.dumps(twin.get_config()) == text
    assert dir(twin) == dir(model)
    arguments = json.loads(text)
    for key in ("name", "trainable", "dtype"):
        arguments.pop(key, None)
    created = mvae_tf.create(model.registry_name, **arguments)
    assert_equal_variables(model, created)


def check_gradients(case):
    """Every trainable variable has a finite gradient that is not all zero."""
    model = case.make()
    x, y = model.unpack(case.data())
    with tf.GradientTape() as tape:
        noise = BatchNoise(step_seed(model.seed, model.step.value))
        terms = model.loss_terms(x, y, noise, training=True)
        loss = tf.reduce_sum(model.objective(terms, model.term_weights, x))
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.all(np.isfinite(gradient)), variable.path
        assert np.any(gradient != 0), variable.path


def check_inputs(case):
    """Whatever form the data has, one seed makes one model.

    Arrays, data sets, unused labels, a batch of one and a remainder all train.
    """
    x, y = case.data(num=9)
    unused = np.zeros(len(x), "int64")
    one_hot = None if y is None else np.eye(3, dtype="float32")[y]
    column = None if y is None else y[:, np.newaxis]
    forms = [
        ((x, y), {"batch_size": 9}),
        ((dataset(x, unused if y is None else one_hot, 9),), {}),
        ((x.astype("float64"), unused if y is None else column), {"batch_size": 9}),
    ]
    models = [case.compiled() for _ in forms]
    initial = arrays_of(models[0])
    for model, (arguments, options) in zip(models, forms, strict=True):
        model.fit(*arguments, shuffle=False, verbose=0, **options)
        assert_equal_variables(models[0], model)
    assert differ(arrays_of(models[0]), initial)
    assert differ(arrays_of(case.make(seed=1)), initial)
    history = model.fit(dataset(x[:1], labels_at(y, slice(1))), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    model.fit(dataset(x, y, 8), verbose=0)
    assert int(model.step.numpy()) == 4
    assert int(model.skipped_steps.numpy()) == 0


def check_eager_and_graph(case):
    """Three steps run eagerly log what those of a graph log."""
    x, y = case.data()

    def three_steps(run_eagerly):
        model = case.compiled(run_eagerly=run_eagerly)
        return model.fit(dataset(x, y, len(x)), epochs=3, verbose=0).history

    eager, graph = three_steps(True), three_steps(False)
    assert set(eager) == set(graph)
    for key, values in graph.items():
        np.testing.assert_allclose(eager[key], values, rtol=1e-4, atol=1e-5)


def check_learning(case):
    """The objective falls on a mixture of prototypes."""
    x, y = case.data(num=32)
    model = case.compiled(learning_rate=1e-2, run_eagerly=not case.graph)
    history = model.fit(dataset(x, y, 32), epochs=40, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert np.mean(history["loss"][-5:]) < np.mean(history["loss"][:2]) - 1.0
    assert int(model.skipped_steps.numpy()) == 0
