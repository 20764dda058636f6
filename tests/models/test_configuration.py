"""Configurations that cannot lie, and objects that no file could make again."""

import harness
import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import config, likelihoods, networks, quiet
from mvae_tf.models import MVAE, VAE, Term, register, registry
from mvae_tf.parts.part import Part

SMALL = {"input_shape": (4, 4, 1), "latent_dim": 2, "network": {"name": "mlp"}}


@pytest.fixture
def own_names(monkeypatch):
    """Registrations that end with the test."""
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))


@pytest.fixture
def keyword_only(own_names):
    @register("keyword_only_vae")
    class KeywordOnlyVAE(VAE):
        def __init__(self, *, free_nats=2.0, **kwargs):
            super().__init__(**kwargs)
            self.free_nats = free_nats

    return KeywordOnlyVAE


def test_keyword_only_arguments_are_saved(keyword_only, tmp_path):
    case = harness.Case("keyword_only_vae", "keyword_only_vae", {"free_nats": 5.0})
    harness.check_config(case)
    model = case.make()
    assert model.get_config()["free_nats"] == 5.0
    model.save(tmp_path / "model.keras")
    assert mvae_tf.load(tmp_path / "model.keras").free_nats == 5.0


def test_an_argument_that_is_not_kept_is_an_error(own_names):
    @register("forgetful_vae")
    class ForgetfulVAE(VAE):
        def __init__(self, *, free_nats=2.0, **kwargs):
            super().__init__(**kwargs)

    model = ForgetfulVAE(**SMALL)
    model.compile()
    with pytest.raises(TypeError, match="^Expected ForgetfulVAE to keep its argument"):
        model.fit(np.zeros((2, 4, 4, 1), "float32"), verbose=0)


def test_a_class_that_fixes_an_argument_says_so(own_names, tmp_path):
    @register("beta_by_name_vae")
    class BetaByNameVAE(VAE):
        fixed = ("kl_weight",)

        def __init__(self, beta=2.0, **kwargs):
            super().__init__(kl_weight=beta, **kwargs)
            self.beta = beta

    BetaByNameVAE(3.0, **SMALL).save(tmp_path / "model.keras")
    assert mvae_tf.load(tmp_path / "model.keras").final_weights["kl"] == 3.0


class Doubled(VAE):
    def __init__(self, *, free_nats=2.0, **kwargs):
        super().__init__(**kwargs)
        self.free_nats = 2 * free_nats


class Renamed(VAE):
    def __init__(self, beta=2.0, **kwargs):
        super().__init__(kl_weight=beta, **kwargs)
        self.beta = beta


class ByPlaceAlone(VAE):
    def __init__(self, free_nats=2.0, /, **kwargs):
        super().__init__(**kwargs)
        self.free_nats = free_nats


class AnyNumber(VAE):
    def __init__(self, *sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = sizes


class NotNamed(VAE):
    def __init__(self, **kwargs):
        self.free_nats = kwargs.pop("free_nats", 2.0)
        super().__init__(**kwargs)


class ChangedDefault(VAE):
    def __init__(self, *, sizes=[1], **kwargs):  # noqa: B006
        super().__init__(**kwargs)
        self.sizes = sizes
        self.sizes.append(2)


class NotFixed(VAE):
    fixed = ("kl_weight",)


class Anything(VAE):
    def __init__(self, *, thing=None, **kwargs):
        super().__init__(**kwargs)
        self.thing = thing


@pytest.mark.parametrize(
    ("cls", "place", "arguments", "message"),
    [
        (Doubled, (), {"free_nats": 3.0}, "again with free_nats = 6.0, got 12.0"),
        (Renamed, (3.0,), {}, "again, got the error .* multiple values .* in `fixed`"),
        (ByPlaceAlone, (3.0,), {}, "again, got the error .*Unrecognized"),
        (AnyNumber, (5, 6), {}, r"again with sizes = \(5, 6\), got \[\]"),
        (NotNamed, (), {"free_nats": 3.0}, "again with free_nats = 3.0, got 2.0"),
        (ChangedDefault, (), {}, r"again with sizes = \[1, 2\], got \[1, 2, 2\]"),
        (NotFixed, (), {"kl_weight": 3.0}, "again with .*3.0.*, got .*1.0"),
        (Anything, (), {"thing": np.zeros(2)}, "thing of Anything as plain JSON .*nda"),
        (Anything, (), {"thing": {1, 2}}, "thing of Anything as plain JSON .* got Tr"),
        (Anything, (), {"thing": networks.MLP(8)}, "again with thing = <.*, got .*mlp"),
    ],
)
def test_a_configuration_that_lies_is_refused(
    own_names, tmp_path, cls, place, arguments, message
):
    model = register(f"lying_{cls.__name__}")(cls)(*place, **SMALL | arguments)
    model.compile()
    path = tmp_path / "model.keras"
    for call in (lambda: model.fit(X, verbose=0), lambda: model.save(path)):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not path.exists()


def test_a_trained_model_that_counts_in_an_attribute_is_saved(own_names, tmp_path):
    @register("counting_vae")
    class Counting(VAE):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.epochs = 0

    model = Counting(**SMALL)
    model.compile()
    for _ in range(2):
        model.fit(X, verbose=0)
        model.epochs += 1
    model.save(tmp_path / "model.keras")
    assert mvae_tf.load(tmp_path / "model.keras").epochs == 0


def test_a_number_of_numpy_is_kept_as_a_plain_one(own_names, tmp_path):
    model = register("anything_vae")(Anything)(thing=np.float32(1.5), **SMALL)
    model.save(tmp_path / "model.keras")
    assert mvae_tf.load(tmp_path / "model.keras").thing == 1.5


def test_a_class_with_a_fixed_number_of_components_is_not_pruned(own_names):
    @register("three_mvae")
    class ThreeMVAE(MVAE):
        fixed = ("num_components",)

        def __init__(self, *args, **kwargs):
            super().__init__(*args, num_components=3, **kwargs)

    with pytest.raises(ValueError, match="^Expected a model that is created with any"):
        ThreeMVAE(**SMALL).prune(X)


def bright(parent):
    """A registered subclass of a model with one more term."""

    @register(f"bright_{parent.registry_name}")
    class Bright(parent):
        def __init__(self, *args, weight=0.5, **kwargs):
            super().__init__(*args, terms={"brightness": Term(weight)}, **kwargs)
            self.weight = weight

        def loss_terms(self, x, y, noise, training):
            terms = super().loss_terms(x, y, noise, training)
            return terms | {"brightness": tf.reduce_sum(x, axis=[1, 2, 3])}

    return Bright


@pytest.mark.parametrize("name", mvae_tf.names())
def test_a_subclass_of_every_model_adds_a_term(own_names, name):
    own_name = bright(registry.get(name)).registry_name
    own = harness.Case(own_name, own_name).compiled()
    other = harness.Case(name, name).compiled()
    logs = own.test_on_batch(X, return_dict=True)
    expected = other.test_on_batch(X, return_dict=True)
    brightness = X.sum() / len(X)
    assert logs["brightness"] == pytest.approx(brightness, rel=1e-6)
    loss = expected["loss"] + 0.5 * brightness
    assert logs["loss"] == pytest.approx(loss, rel=1e-5)
    own.check_config()


def test_a_subclass_of_the_vae_adds_a_term(own_names, tmp_path):
    model = bright(VAE)(**SMALL)
    model.compile()
    logs = model.evaluate(np.ones((2, 4, 4, 1), "float32"), verbose=0, return_dict=True)
    assert logs["brightness"] == 16.0
    total = logs["reconstruction"] + logs["kl"] + 8.0
    assert logs["loss"] == pytest.approx(total, rel=1e-6)
    model.save(tmp_path / "model.keras")
    assert mvae_tf.load(tmp_path / "model.keras").weight == 0.5


def test_a_name_belongs_to_one_class(own_names):
    with pytest.raises(ValueError, match="^Expected a name that no model has, got 'va"):

        @register("vae")
        class Other(VAE):
            pass

    with pytest.raises(ValueError, match="^Expected a name that no network has"):

        @networks.register("mlp")
        class OtherMLP(networks.MLP):
            pass


def test_unregistered_parts_are_refused():
    class Own(networks.MLP):
        name = "own"

    class Other(networks.MLP):
        pass

    for part in (Own(8), Other(8)):
        with pytest.raises(ValueError, match="^Expected a registered network, got an"):
            VAE(**SMALL | {"network": part})
    with pytest.raises(ValueError, match="^Expected a registered likelihood"):
        VAE(**SMALL, likelihood=Part())


def test_a_registered_part_trains_and_loads(tmp_path, monkeypatch):
    kinds = likelihoods._KINDS
    monkeypatch.setattr(kinds, "classes", dict(kinds.classes))

    @likelihoods.register("dim_bernoulli")
    class DimBernoulli(likelihoods.Bernoulli):
        def __init__(self, dim=1.0):
            self.dim = dim

    model = VAE(**SMALL, likelihood=DimBernoulli(0.5))
    model.save(tmp_path / "model.keras")
    assert mvae_tf.load(tmp_path / "model.keras").likelihood.dim == 0.5
    broken = DimBernoulli(0.5)
    vars(broken)["dim"] = np.zeros(3)
    with pytest.raises(
        ValueError, match="^Expected a likelihood that can be made again"
    ):
        VAE(**SMALL, likelihood=broken)


def test_arguments_and_layers_stay_as_constructed():
    model = VAE(**SMALL)
    for name, value in (
        ("kl_weight", 0.0),
        ("encoder", keras.layers.Dense(3)),
        ("prior", mvae_tf.priors.MixtureOfGaussians(3, 2, seed=0)),
    ):
        with pytest.raises(
            AttributeError, match=f"^Expected {name} as VAE was constructed with it"
        ):
            setattr(model, name, value)


def test_frozen_layers_stay_frozen_in_a_file(tmp_path):
    model = VAE(**SMALL)
    model.encoder.trainable = False
    model.compile(mvae_tf.optimizers.FusedAdam(), run_eagerly=True)
    model.train_on_batch(X)
    model.save(tmp_path / "model.keras")
    loaded = mvae_tf.load(tmp_path / "model.keras")
    assert not loaded.encoder.trainable
    assert loaded.sub_decoder.trainable
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def test_forms_of_arguments():
    model = mvae_tf.create("mvae", [4, 4, 1], num_components=np.int64(2), name="mine")
    assert model.name == "mine"
    assert model.num_components == 2
    assert mvae_tf.create(name="vae", input_shape=(4,)).registry_name == "vae"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float64"}, "^Expected dtype float32, mixed_bfloat16 or mixed_floa"),
        ({"input_shape": (None, 4, 1)}, "^Expected input_shape"),
        ({"latent_dim": True}, "^Expected latent_dim as an integer"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAE(**SMALL | arguments)


X = np.random.default_rng(0).uniform(0.1, 0.9, (6, 4, 4, 1)).astype("float32")
RANGE = "^Expected pixels in .*, got .*[.]$"
CALLS = [
    (RANGE, lambda m: m.train_on_batch(255 * X)),
    (RANGE, lambda m: m.test_on_batch(255 * X)),
    (RANGE, lambda m: m.predict(255 * X, verbose=0)),
    (RANGE, lambda m: m(255 * X)),
    ("in prediction batch 1", lambda m: m.predict(harness.dataset(255 * X), verbose=0)),
    ("^Expected finite pixels", lambda m: m.train_on_batch(np.nan * X)),
    ("^Expected no sample_weight", lambda m: m.evaluate(X, sample_weight=np.ones(6))),
    (
        "^Expected no sample_weight",
        lambda m: m.fit(X, validation_data=(X, None, np.ones(6)), verbose=0),
    ),
    (
        "^Expected no loss, got one: VAE has an objective",
        lambda m: m.compile(loss="mse"),
    ),
    ("^Expected no metrics", lambda m: m.compile(metrics=["mae"])),
    ("^Expected no labels", lambda m: m.generate(2, y=3)),
    (
        "^Expected weights >= 0 whose rows sum to 1, got .10.0. in row 0",
        lambda m: m.decode(np.zeros((1, 1, 2)), [[10.0]]),
    ),
    (
        "^Expected an array of images, got",
        lambda m: m.encode(harness.dataset(X)),
    ),
    ("^Expected an array of images or a data s", lambda m: m.fit({"image": X})),
    ("^Expected images .B, 4, 4, 1., got", lambda m: m.predict(X[0])),
    ("^Expected a path that ends in .keras, got m.h5", lambda m: m.save("m.h5")),
    ("^Expected mvae_tf.export", lambda m: m.export("folder")),
]


@pytest.mark.parametrize(("message", "call"), CALLS, ids=[row[0] for row in CALLS])
def test_what_would_be_ignored_or_wrong_is_refused(message, call):
    model = VAE(**SMALL)
    model.compile(mvae_tf.optimizers.FusedAdam(), run_eagerly=True)
    with pytest.raises(ValueError, match=message) as caught:
        call(model)
    assert "\n" not in str(caught.value)


def test_evaluate_takes_the_arguments_of_keras_by_place():
    model = VAE(**SMALL)
    model.compile(mvae_tf.optimizers.FusedAdam(), run_eagerly=True)
    assert len(model.evaluate(X, None, 3, 0)) == 3
    np.testing.assert_allclose(model(X), model.reconstruct(X), rtol=1e-5)


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ImportError, match="^Expected the Keras backend tensorflow"):
        quiet.import_tensorflow()


# === Arguments that exist no more, in files of older versions ===


def old_arguments():
    """Each retired argument: model, its arguments, and the part that had it."""
    of_parts = {
        "mask": ("mvae", {"name": "gaussian"}),
        "mixing": ("mvae", {"name": "dirichlet"}),
        "independence": ("mvae", {"name": "l2"}),
        "network": ("vae", {"name": "pixel", "filters": 4, "depth": 2}),
    }
    for owner, retired in config._RETIRED.items():
        for key, value in retired.items():
            model, part = of_parts.get(owner, (owner, None))
            yield pytest.param(model, owner, part, key, value, id=f"{owner}-{key}")


RETIRED = list(old_arguments())


@pytest.mark.parametrize(("model", "owner", "part", "key", "value"), RETIRED)
def test_files_with_a_retired_argument_load(model, owner, part, key, value):
    new = SMALL | {"name": "model"} | ({} if part is None else {owner: part})
    old = new | ({key: value} if part is None else {owner: part | {key: value}})
    cls = registry.get(model)
    loaded = cls.from_config(old)
    assert loaded.get_config() == cls.from_config(new).get_config()
    run = config.RunConfig.from_dict({"model": model, "arguments": old})
    assert run == config.RunConfig(model, new)


@pytest.mark.parametrize(("model", "owner", "part", "key", "value"), RETIRED)
def test_another_value_of_a_retired_argument_is_refused(model, owner, part, key, value):
    old = {key: "other"} if part is None else {owner: part | {key: "other"}}
    message = f"^Expected {key} = .*, got 'other': the version of mvae-tf that wrote"
    with pytest.raises(ValueError, match=message):
        registry.get(model).from_config(SMALL | old)
    with pytest.raises(ValueError, match=message):
        config.RunConfig.from_dict({"model": model, "arguments": old})
