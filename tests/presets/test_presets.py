"""Presets: names, arguments, the papers' numbers."""

import inspect
import json
import math
import re

import pytest

from mvae_tf import data, evaluation, models, presets
from mvae_tf.config import RunConfig
from mvae_tf.models import registry

DATASETS = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "celeb_a",
    "imagenet64",
)
SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1)}
SHAPES |= {"cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}
SHAPES |= {"celeb_a": (64, 64, 3), "imagenet64": (64, 64, 3)}
SHAPES |= {"omniglot": (28, 28, 1), "frey_faces": (28, 20, 1), "toy": (1,)}

# Arguments of networks with few units and filters.
FEW_ENCODER = [[1, 7, 1], [1, 3, 2]]
FEW = {
    "mlp": {"hidden": 3},
    "gated_mlp": {"hidden": 3},
    "gated_conv": {"hidden": 3, "encoder_layers": FEW_ENCODER, "decoder_filters": [1]},
    "pixel": {"encoder_layers": FEW_ENCODER, "filters": 1, "depth": 2},
}

CODE = [name for name in presets.names() if name.endswith("@code")]


def small(arguments):
    """The arguments with few units and filters, so that a model is quick to make."""
    if "num_pseudo_inputs" in arguments:
        arguments = arguments | {"num_pseudo_inputs": 2}
    network = arguments.get("network", "mlp")
    network = {"name": network} if isinstance(network, str) else dict(network)
    if network["name"] in FEW:
        few = {"network": network | FEW[network["name"]]}
        return arguments | (few if "network" in arguments else {})
    if network["name"] == "dcgan":
        filters = [1] * len(network.get("filters", [1, 1]))
        few = {"filters": filters, "units": min(2, network.get("units", 2))}
        return arguments | {"network": network | few}
    side = network.get("feature_map", [8, 8])[0]
    decoder = network.get("decoder", [[0, 2], [0, 1], [0, 2], [0, 1]])
    network |= {
        "filters": [1, 1, 1, 1],
        "units": min(2, network.get("units", 2)),
        "feature_map": [side, side, 1],
        "decoder": [[1, stride] for _, stride in decoder],
    }
    return arguments | {"network": network, "latent_dim": 2}


def kind(preset):
    """Source of a preset's data, without the user's file."""
    return preset.data["source"].partition(":")[0]


def test_names_say_model_variant_and_dataset():
    assert len(set(presets.names())) == len(presets.names())
    for name in presets.names():
        preset = presets.get(name)
        assert preset.name == name
        pattern = rf"[a-z0-9-]+-{re.escape(kind(preset))}(@code)?"
        assert re.fullmatch(pattern, name)


@pytest.mark.parametrize("variant", ["gs", "gau", "fixed"])
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("suffix", ["", "@code"])
def test_every_variant_has_a_preset_on_every_dataset(variant, dataset, suffix):
    preset = presets.get(f"mvae-{variant}-{dataset}{suffix}")
    assert preset.model == "mvae"
    assert preset.arguments["num_components"] == 6
    mask = preset.arguments["mask"]
    mask = mask["name"] if isinstance(mask, dict) else mask
    assert mask == {"gs": "gumbel", "gau": "gaussian", "fixed": None}[variant]


def distinct():
    """Names of presets that differ in more than numbers of components."""
    found = {}
    for name in presets.names():
        preset = presets.get(name)
        numbers = {k for k in preset.arguments if k.startswith("num_")}
        rest = {k: v for k, v in preset.arguments.items() if k not in numbers}
        shape = SHAPES[kind(preset)]
        key = json.dumps([preset.model, sorted(numbers), rest, shape], sort_keys=True)
        found.setdefault(key, name)
    return list(found.values())


def test_arguments_are_those_of_the_model():
    for name in presets.names():
        preset = presets.get(name)
        known = registry.arguments(registry.get(preset.model))
        assert set(preset.arguments) <= {*known} - {"seed", "input_shape"}, name


@pytest.mark.parametrize("name", distinct())
def test_preset_makes_a_model_of_its_data(name):
    preset = presets.get(name)
    shape = SHAPES[kind(preset)]
    model = models.create(preset.model, input_shape=shape, **small(preset.arguments))
    low, high = preset.data.get("value_range", (0.0, 1.0))
    assert (model.likelihood.low, model.likelihood.high) == (low, high)
    assert set(preset.data) <= set(inspect.signature(data.load).parameters)


@pytest.mark.parametrize("name", presets.names())
def test_configuration_survives_json_and_is_its_own(name):
    preset = presets.get(name)
    config = preset.config()
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    config.data["source"] = config.arguments["latent_dim"] = "changed"
    assert "changed" not in presets.get(name).data.values()
    assert "changed" not in presets.get(name).arguments.values()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # Trainable parameters of the exported graphs of the authors.
        ("mvae-gs-k4-mnist", 3_519_689),
        ("mvae-gs-mnist@code", 4_957_891),
        ("mvae-gs-k1-mnist", 1_362_386),
        ("mvae-gau-k4-cifar10@code", 24_707_592),
    ],
)
def test_models_have_the_size_of_the_authors(name, count):
    preset = presets.get(name)
    shape = SHAPES[preset.data["source"]]
    model = models.create(preset.model, input_shape=shape, **preset.arguments)
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == count


def test_grey_script_differs_from_the_paper_as_its_authors_do():
    paper, script = presets.get("mvae-gs-mnist"), presets.get("mvae-gs-mnist@code")
    assert script.training == paper.training
    assert script.training.epochs == 100
    assert script.training.batch_size == 128
    assert script.training.learning_rate == 1e-3
    assert script.training.adam_epsilon == 1e-8
    assert script.arguments | {"mixing": None, "mask": None} == (
        paper.arguments | {"mixing": None, "mask": None, "kl_weight": 1.0}
    )
    assert script.arguments["mask"] == {
        "name": "gumbel",
        "regularizer_form": "squared_entropy",
    }
    assert script.arguments["mixing"] == {
        "name": "dirichlet",
        "prior": 0.17,
        "kl_form": "clipped",
        "reparameterized": False,
    }


@pytest.mark.parametrize(
    ("name", "kl_weight", "mask", "learning_rate", "epochs"),
    [
        (
            "mvae-gs-cifar10@code",
            1e-5,
            {"regularizer_form": "dropout_kl", "placement": "concentration"},
            1e-4,
            100,
        ),
        ("mvae-gau-cifar10@code", 0.1, {"renormalize": False}, 1e-4, 100),
        ("mvae-gau-k4-cifar10@code", 0.01, {"renormalize": False}, 1e-4, 100),
        (
            "mvae-gs-celeb_a@code",
            0.1,
            {"regularizer_form": "squared_entropy", "placement": "concentration"},
            1e-4,
            5,
        ),
        ("mvae-gau-celeb_a@code", 0.1, {"placement": "concentration"}, 1e-4, 5),
        (
            "mvae-gs-imagenet64@code",
            0.01,
            {"regularizer_form": "squared_entropy", "placement": "concentration"},
            1e-4,
            5,
        ),
    ],
)
def test_colour_scripts_have_their_own_weights_and_masks(
    name, kl_weight, mask, learning_rate, epochs
):
    preset = presets.get(name)
    assert preset.arguments["kl_weight"] == kl_weight
    assert mask.items() <= preset.arguments["mask"].items()
    assert preset.arguments["network"]["batch_statistics"] is True
    assert preset.arguments["mixing"]["reparameterized"] is False
    assert preset.training.learning_rate == learning_rate
    assert preset.training.batch_size == 64
    assert preset.training.epochs == epochs


@pytest.mark.parametrize("name", [n for n in CODE if "gau" in n])
def test_gaussian_scripts_take_the_variable_as_the_deviation(name):
    mask = presets.get(name).arguments["mask"]
    assert (mask["parameterization"], mask["initial"]) == ("raw_std", -10.0)


@pytest.mark.parametrize("name", [n for n in CODE if "cifar" in n])
def test_cifar_scripts_have_tanh_on_pixels_from_0_to_1(name):
    arguments = presets.get(name).arguments
    assert arguments["likelihood"] == {"name": "sse", "activation": "tanh"}


def test_m_vae_scripts_have_their_own_priors_and_weights():
    arguments = presets.get("m-vae-cifar10@code").arguments
    assert arguments["independence"] is None
    assert arguments["kl_weight"] == arguments["dirichlet_weight"] == 0.05
    assert arguments["prior_means"] == [0.4, 0.2, -0.2, 0.5]
    assert arguments["prior_stddevs"] == [2.0, 0.5, 0.5, 1.0]
    grey = presets.get("m-vae-mnist@code").arguments
    assert grey["network"] == {"name": "mlp", "dropout": 0.1}
    assert grey["latent_dim"] == 50
    assert presets.get("m-vae-mnist").arguments["latent_dim"] == 20


@pytest.mark.parametrize(
    ("name", "metric", "value", "source"),
    [
        ("mvae-gs-k4-mnist", "sse_sampled", 7.35, "TNNLS 2022, Table VI"),
        ("mvae-gs-k4-mnist", "selected_components", 3.07, "TNNLS 2022, Table VI"),
        ("mvae-gs-mnist@code", "sse_sampled", 7.30, "TNNLS 2022, Table VI"),
        ("mvae-gs-mnist", "selected_components", 4.05, "TNNLS 2022, Table VI"),
        ("mvae-gau-mnist", "sse_sampled", 7.53, "TNNLS 2022, Table VI"),
        ("mvae-gau-mnist", "sse_unmasked", 7.89, "TNNLS 2022, Table VI"),
        ("mvae-gs-k1-mnist", "sse_sampled", 10.35, "TNNLS 2022, Table VI"),
        ("mvae-gau-k1-mnist", "sse_sampled", 12.62, "TNNLS 2022, Table VI"),
        ("vae-mnist", "sse_sampled", 9.07, "TNNLS 2022, Table VI"),
        ("mvae-gau-cifar10", "rmse", 2.97, "TNNLS 2022, Table I"),
        ("mvae-gs-cifar100", "inception_score", 5.60, "TNNLS 2022, Table II"),
        ("mvae-fixed-imagenet64", "rmse", 20.87, "TNNLS 2022, Table III"),
        ("m-vae-k8-mnist", "sse_sampled", 10.20, "IPTA 2020, Table I"),
        ("vae-z20-mnist", "sse_sampled", 13.44, "IPTA 2020, Table I"),
        ("m-vae-cifar10", "rmse", 3.17, "IPTA 2020, Table III"),
    ],
)
def test_papers_numbers(name, metric, value, source):
    reported = presets.get(name).paper
    assert (metric, value, source) in [(r.metric, r.value, r.source) for r in reported]


def test_reported_metrics_are_known_and_say_where_they_stand():
    for name in presets.names():
        for reported in presets.get(name).paper:
            assert evaluation.meaning(reported.metric)
            assert re.match(
                r"(TNNLS 2022|IPTA 2020|Entropy 2020|IEEE Access 2020|TMM 2020), "
                r"(Table ([IV]+|A?\d)|text)$",
                reported.source,
            )
            assert reported.row


def test_unknown_name_brings_the_nearest_ones():
    hint = r"'mvae-gs-mnst'.*Did you mean 'mvae-gs-mnist'"
    with pytest.raises(ValueError, match=hint):
        presets.get("mvae-gs-mnst")
