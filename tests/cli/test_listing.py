"""What `list` and `show` print, and that it is what the library has."""

import contextlib
import inspect
import json

import pytest

from mvae_tf import cli, data, evaluation, models, presets
from mvae_tf.cli import catalogue
from mvae_tf.models import registry
from mvae_tf.parts import independence, likelihoods, masks, mixing, networks
from mvae_tf.runs import overrides

KINDS = {
    "network": networks,
    "likelihood": likelihoods,
    "mask": masks,
    "mixing": mixing,
    "independence": independence,
}


def listed(capsys, *arguments):
    """First words of the lines below the header."""
    assert cli.main(["list", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    return [line.split()[0] for line in lines if not line.startswith(" ")]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", models.names()),
        ("presets", presets.names()),
        ("datasets", data.sources()),
        ("metrics", evaluation.UNITS),
    ],
)
def test_list_names_everything(kind, names, capsys):
    # The test of a later file may have registered models of its own.
    assert set(listed(capsys, kind)) >= set(catalogue_of(kind))
    assert set(catalogue_of(kind)) <= set(names)
    assert len(catalogue_of(kind)) > 5


def catalogue_of(kind):
    return presets.names() if kind == "presets" else getattr(catalogue, kind)()


def test_the_catalogue_has_every_model_of_the_package():
    own = [
        name
        for name in models.names()
        if registry.get(name).__module__.startswith("mvae_tf.")
    ]
    assert set(catalogue.models()) == set(own)
    for name, text in catalogue.models().items():
        assert text == registry.get(name).__doc__.splitlines()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_catalogue_has_every_part_that_can_be_named(kind):
    found = catalogue.parts(kind)
    # Tests may have registered others.
    assert set(found) <= set(KINDS[kind].names())
    for name, text in found.items():
        with contextlib.suppress(ValueError):
            # Some cannot be made without arguments.
            assert text == type(KINDS[kind].get(name)).__doc__.splitlines()[0]


def test_the_catalogue_has_every_group_of_metrics():
    assert tuple(catalogue.metric_groups()) == evaluation.GROUPS


@pytest.mark.parametrize("name", sorted(catalogue.models()))
def test_the_catalogue_has_every_setting_of_a_model(name):
    known = registry.arguments(registry.get(name))
    found = catalogue.defaults(name)
    assert set(found) == set(known) - {"seed", "input_shape"}
    for key, default in found.items():
        value = list(known[key]) if isinstance(known[key], tuple) else known[key]
        if not isinstance(value, str | dict):
            assert json.loads(default) == value


def test_settings_are_described():
    settings = catalogue.settings()
    assert {item.key for item in settings} >= {
        "optimizer",
        "learning_rate",
        "data.image_size",
        "latent_dim",
        "mask.temperature",
        "network.hidden",
    }
    known = set(inspect.signature(data.load).parameters)
    known -= {"source", "batch_size", "limit", "seed"}
    assert {x.key for x in settings if x.owner == "data"} == {
        f"data.{name}" for name in known
    }
    assert [x for x in settings if not x.text] == []


def test_words_narrow_the_list(capsys):
    found = listed(capsys, "presets", "mvae-gs", "mnist")
    assert "mvae-gs-mnist" in found
    assert all("mvae-gs" in name and "mnist" in name for name in found)
    assert len(found) < len(presets.names())
    # Columns count, in any case, and what stands in them.
    assert "mvae-gs-k4-mnist" in listed(capsys, "presets", "MVAE-GS", "k=4")
    assert listed(capsys, "masks", "gumbel") == ["gumbel"]
    assert "mask.temperature" in listed(capsys, "settings", "gumbel")


def test_words_that_nothing_has_are_a_mistake(capsys):
    assert cli.main(["list", "presets", "no", "such"]) == 2
    assert "'no such'" in capsys.readouterr().err


def test_presets_are_listed_with_their_columns(capsys):
    assert cli.main(["list", "presets", "cp-vae-k150-mnist"]) == 0
    header, row = capsys.readouterr().out.splitlines()[:2]
    assert header.split()[:4] == ["name", "data", "K", "Z"]
    assert row.split()[:6] == [
        "cp-vae-k150-mnist",
        "mnist",
        "150",
        "40",
        "elbo",
        "-88.53",
    ]


def test_a_preset_is_shown_with_all_settings_and_numbers(capsys):
    assert cli.main(["show", "mvae-gs-mnist"]) == 0
    printed = capsys.readouterr().out
    preset = presets.get("mvae-gs-mnist")
    for key in (
        *catalogue.defaults("mvae"),
        *preset.data,
        "learning_rate",
        "optimizer",
    ):
        assert f"\n  {key} " in printed
    for item in preset.paper:
        assert f"{item.value:g}" in printed
        assert item.source in printed
    assert "--preset mvae-gs-mnist" in printed


def test_differences_from_the_preset_are_named():
    config = presets.get("mvae-gs-mnist").config()
    assert presets.differences(config) == []
    changed = overrides.apply(config, ["epochs=3", "data.limit=100"])
    assert presets.differences(changed) == [
        "epochs (3, preset: 100)",
        "data.limit (100, preset: null)",
    ]
