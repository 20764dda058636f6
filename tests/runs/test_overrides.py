"""Settings given as `key=value`, and the optimisers that they name."""

import keras
import pytest

from mvae_tf import models, optimizers
from mvae_tf.config import RunConfig, Training
from mvae_tf.runs import overrides


def test_settings_reach_their_place():
    config = overrides.apply(
        RunConfig("mvae"),
        [
            "learning_rate=0.01",
            "latent_dim=3",
            "mask.temperature=0.2",
            "mixing.prior=1.0",
            "likelihood=continuous_bernoulli",
            "data.image_size=16",
            "dtype=mixed_bfloat16",
        ],
    )
    assert config.training.learning_rate == 0.01
    assert config.data == {"source": "digits", "image_size": 16}
    assert config.arguments["dtype"] == "mixed_bfloat16"
    model = models.create(config.model, input_shape=(4, 4, 1), **config.arguments)
    assert model.latent_dim == 3
    assert model.mask.temperature == 0.2
    assert model.mixing.prior == 1.0
    assert model.likelihood.name == "continuous_bernoulli"


def test_settings_apply_in_turn():
    config = overrides.apply(
        RunConfig("mvae"), ["mask=gaussian", "mask.threshold=0.5", "mask.initial=-3"]
    )
    mask = config.arguments["mask"]
    assert (mask["name"], mask["threshold"], mask["initial"]) == ("gaussian", 0.5, -3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("latent_dm=3", r"Unknown --set key 'latent_dm'.*Did you mean 'latent_dim'"),
        ("mask.temperatur=1", r"key of mask, 'temperatur'.*mean 'temperature'"),
        ("data.sorce=x", r"argument of the data, 'sorce'.*mean 'source'"),
        ("maks.temperature=1", r"Unknown --set key 'maks.temperature'"),
        ("seed=1", r"Unknown --set key 'seed': use the option --seed"),
        ("latent_dim", r"Expected --set key=value, got 'latent_dim'"),
        ("=3", r"Expected --set key=value, got '=3'"),
        ("latent_dim=three", r"Expected latent_dim as an integer, got 'three'"),
        ("latent_dim=3.5", r"Expected latent_dim as an integer, got 3.5"),
        ("kl_weight=1e999", r"Expected kl_weight as a number, got '1e999'"),
        ("network.hidden=99999999999", r"Expected network.hidden at most 2\^31 - 1"),
        ('network={"hidden": [99999999999]}', r"at most 2\^31 - 1"),
        ("lr=1", r"Unknown --set key 'lr'. Did you mean 'learning_rate'"),
        ("temperature=1", r"Did you mean 'mask.temperature'"),
        ("image_size=1", r"Did you mean 'data.image_size'"),
        ("weight_decay=1", r"Did you mean 'optimizer.weight_decay'"),
        ("Latent-Dim=1", r"Did you mean 'latent_dim'"),
        ("output=x", r"use the option --output"),
        ("kl_weight=NaN", r"Expected kl_weight as a number, got 'NaN'"),
        ("kl_weight=true", r"Expected kl_weight as a number, got True"),
        ("mask.renormalize=1", r"Expected mask.renormalize as true or false, got 1"),
        ("input_shape=5", r"Expected input_shape as a list, got 5"),
        ("mixing.prior=x", r"dirichlet' with arguments of the right types, got"),
        ("mixing.prior=[1]", r"dirichlet' with arguments of the right types, got"),
        ("epochs=1.5", r"Expected epochs as an integer >= 1, got 1.5"),
        ("mask.temperature=-1", r"Expected temperature > 0, got -1"),
        ("mask.placement=here", r"Unknown placement 'here'"),
    ],
)
def test_wrong_settings_are_named(setting, message):
    def make():
        config = overrides.apply(RunConfig("mvae"), [setting])
        return models.create(config.model, **config.arguments)

    with pytest.raises(ValueError, match=message):
        make()


def test_a_part_that_is_not_there_has_no_settings():
    with pytest.raises(ValueError, match="Expected a mask to set 'temperature' of"):
        overrides.apply(RunConfig("mvae"), ["mask=null", "mask.temperature=1"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("None", None),
        ("true", True),
        ("True", True),
        ("false", False),
        (".001", 0.001),
        ("1.", 1.0),
        ("+2", 2),
        ("1e-3", 1e-3),
        ("text", "text"),
        ("'text'", "text"),
        ("[1, 2]", [1, 2]),
        ("(1, 2)", [1, 2]),
        ("{'name': 'mlp'}", {"name": "mlp"}),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("1+2j", "1+2j"),
        ("", ""),
        ("a=b", "a=b"),
        ("[" * 2000, "[" * 2000),
    ],
)
def test_values_are_read_as_json_or_python_writes_them(text, value):
    config = overrides.apply(RunConfig("vae"), [f"data.data_dir={text}"])
    assert config.data["data_dir"] == value
    assert type(config.data["data_dir"]) is type(value)


# === Optimisers ===


def made(*assignments):
    """Optimiser of a run with these settings, which are saved and read again."""
    config = overrides.apply(RunConfig("vae"), assignments)
    assert RunConfig.from_dict(config.to_dict()) == config
    return optimizers.from_settings(config.training)


def test_adam_is_the_fused_one_with_the_settings_of_the_run():
    optimizer = made("learning_rate=.01", "adam_epsilon=1e-5", "optimizer.clipnorm=2")
    assert type(optimizer) is optimizers.FusedAdam
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert (optimizer.epsilon, optimizer.clipnorm) == (1e-5, 2)
    assert made("normalize_gradients=true").normalize_gradients


def test_any_optimiser_of_keras_is_named_by_its_class():
    optimizer = made("optimizer=AdamW", "optimizer.weight_decay=.5", "learning_rate=.2")
    assert type(optimizer) is keras.optimizers.AdamW
    assert optimizer.weight_decay == 0.5
    assert float(optimizer.learning_rate) == pytest.approx(0.2)
    assert made("optimizer=SGD", "optimizer.momentum=0.9").momentum == 0.9
    assert float(made("optimizer=SGD", "learning_rate=1").learning_rate) == 1.0


def test_a_schedule_starts_at_the_learning_rate():
    settings = ["learning_rate=CosineDecay", "learning_rate.decay_steps=100"]
    optimizer = made("learning_rate=0.3", *settings)
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    optimizer.iterations.assign(50)
    assert float(optimizer.learning_rate) == pytest.approx(0.15)
    optimizer.iterations.assign(100)
    assert float(optimizer.learning_rate) == pytest.approx(0.0, abs=1e-7)


def test_a_schedule_as_keras_serialises_it():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.1, 0.01])
    record = keras.optimizers.schedules.serialize(schedule)
    training = Training(learning_rate=record)
    optimizer = optimizers.from_settings(training)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer.iterations.assign(11)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_a_registered_optimiser_of_ones_own():
    @keras.saving.register_keras_serializable(package="tests")
    class Slow(keras.optimizers.SGD):
        pass

    assert type(made("optimizer=tests>Slow")) is Slow


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["optimizer=adamw"], "Unknown optimizer 'adamw'.*Did you mean 'AdamW'"),
        (["optimizer=5"], "Expected optimizer as"),
        (["optimizer.clipnrm=1"], "argument of Adam, 'clipnrm'.*mean 'clipnorm'"),
        (["optimizer.clipnorm=x"], "Expected optimizer.clipnorm as a number"),
        (["optimizer.learning_rate=1"], "Unknown argument of Adam, 'learning_rate'"),
        (["optimizer.epsilon=1"], "Expected the setting adam_epsilon"),
        (["optimizer=AdamW", "adam_epsilon=1e-3"], "Expected optimizer.epsilon for Ad"),
        (["optimizer=SGD", "normalize_gradients=true"], "only Adam has it"),
        (["optimizer.use_ema=true"], "Expected optimizer.use_ema as false"),
        (["optimizer.clipnorm=1", "optimizer.clipvalue=1"], "Adam: "),
        (["learning_rate=Cosine"], "Unknown schedule 'Cosine'.*mean 'CosineDecay'"),
        (["learning_rate=CosineDecay"], "Expected decay_steps of CosineDecay, got"),
        (["learning_rate.decay_steps=1"], "Expected a schedule to set 'decay_steps'"),
        (["learning_rate=0"], "Expected learning_rate as a number > 0, got 0"),
        (["learning_rate=true"], "Expected learning_rate as a number > 0, got True"),
        (["optimizer.beta_1=2"], r"Expected beta_1 of FusedAdam in \[0, 1\)"),
        (["optimizer.beta_2=null"], "beta_2 of FusedAdam as a number, got None"),
        (["optimizer.clipnorm=0"], "Expected clipnorm of FusedAdam > 0, got 0"),
        (["optimizer.weight_decay=[1]"], "weight_decay of FusedAdam as a number"),
        (["optimizer.amsgrad=5"], "Expected amsgrad of FusedAdam as true or false"),
        (["optimizer=SGD", "optimizer.nesterov=3"], "nesterov of SGD as true or false"),
    ],
)
def test_wrong_optimisers_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        overrides.apply(RunConfig("vae"), settings)


def test_a_configuration_without_an_optimiser_is_adam():
    """Those that were written before the setting existed."""
    values = RunConfig("vae").to_dict()
    for key in ("init_from", "imports"):
        del values[key]
    del values["training"]["optimizer"]
    assert RunConfig.from_dict(values) == RunConfig("vae")
