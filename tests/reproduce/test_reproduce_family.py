"""Tables and figures of GMMpVAE, CP-VAE and CGM, of small models without training."""

import functools

import numpy as np
import pytest

from mvae_tf import evaluation, models, presets, reproduce
from mvae_tf.reproduce import Run, Trained, cp_vae, gmmp_vae
from mvae_tf.reproduce.records import records

SHAPES = {
    "mnist": (8, 8),
    "fashion_mnist": (8, 8),
    "omniglot": (8, 8),
    "frey_faces": (8, 4),
    "imagenet64": (32, 32, 3),
    "cifar10": (32, 32, 3),
}
FEW = ("data.limit=40", "batch_size=20", "data.validation_size=null")
GATED = 'network={"name": "gated_mlp", "hidden": 4}'
DCGAN = 'network={"name": "dcgan", "filters": [2, 2], "units": 4}'


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Small files in place of the data sets."""
    rng = np.random.default_rng(0)
    found = {"toy": "toy"}
    for name, shape in SHAPES.items():
        path = tmp_path_factory.mktemp("data") / f"{name}.npz"
        y = np.arange(40) % 10
        x = rng.integers(0, 256, (40, *shape), dtype=np.uint8)
        np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        found[name] = f"npz:{path}"
    return found


class Untrained(Trained):
    """What `Trained` has, of a small model that was not trained."""

    def __init__(self, run, sources):
        network = presets.get(run.preset).arguments["network"]
        name = network if isinstance(network, str) else network["name"]
        changes = [change for change in run.changes if "network" not in change]
        changes += [*FEW, DCGAN if name == "dcgan" or "dcgan" in run.name else GATED]
        if not any("latent_dim" in change for change in changes):
            changes.append("latent_dim=4")
        self.run, self.changes, self.due = run, tuple(changes), 0
        self.config = run.config(changes, sources[run.dataset])

    @functools.cached_property
    def model(self):
        shape = self.splits.input_shape
        return models.create(self.config.model, shape, **self.config.arguments)

    @property
    def history(self):
        warmup = self.config.training.warmup_epochs
        return [{"epoch": i, "val_loss": 100 - i / 9} for i in range(1, warmup + 4)]

    @property
    def metrics(self):
        return {"elbo": -90.0}


@pytest.fixture(scope="module")
def untrained(sources):
    """Function from a run to its `Untrained`, one for all tests."""
    return functools.cache(lambda run: Untrained(run, sources))


# A classifier of the codes of noise has nothing to converge to.
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("name", "preset", "metrics"),
    [
        ("gmmp-vae-table-4", "vae-gated-frey_faces", {"elbo": -1831.11}),
        (
            "cp-vae-table-2",
            "indq-vae-k150-fashion_mnist",
            {"top_categories_distinct": 19, "top_categories_shared": 12},
        ),
        ("cp-vae-table-3", "indqp-vae-k10-fashion_mnist", {"elbo": -228.65}),
        (
            "cgm-table-1",
            "cgm2-mnist",
            {"log_likelihood": -77.6, "classification_error": 1.35},
        ),
    ],
)
def test_table_measures_what_it_compares(untrained, name, preset, metrics):
    table = reproduce.get(name)[1]
    run = Run(preset)
    assert run in table.runs("full")
    assert run in table.runs("reduced")
    assert {n.metric: n.value for n in table.reported(run)} == metrics
    one = untrained(run)
    splits = one.splits
    found = evaluation.evaluate(
        one.model,
        splits.test,
        metrics=table.groups,
        num_samples=2,
        num_images=10,
        train=splits.train_from(0).take(2),
    )
    assert table.wanted(run) <= set(found)


def drawn(untrained, name, chosen=slice(None)):
    """Matplotlib figures by suffix, of all or of the chosen runs."""
    figure = reproduce.get(name)[1]
    result = figure.draw([untrained(run) for run in figure.runs("reduced")[chosen]])
    return result if isinstance(result, dict) else {"": result}


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def names(figure):
    """Titles of grids, whose axes are not drawn."""
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_objectives_begin_after_the_warm_up(untrained):
    (figure,) = drawn(untrained, "gmmp-vae-figure-2").values()
    assert legend(figure) == ["VAE", *(f"GMMpVAE, M = {m}" for m in (1, 2, 3))]
    for line in figure.axes[0].lines:
        np.testing.assert_array_equal(line.get_xdata(), [201, 202, 203])


def test_bounds_over_pseudo_inputs_and_weights(untrained):
    (figure,) = drawn(untrained, "gmmp-vae-figure-3").values()
    assert legend(figure) == ["mlp, M = 1", "mlp, M = 2", "VAE"]
    for line in figure.axes[0].lines:
        np.testing.assert_array_equal(line.get_data(), [[100, 500], [-90, -90]])
    (figure,) = drawn(untrained, "gmmp-vae-figure-4").values()
    two, three = figure.axes[0].lines
    np.testing.assert_allclose(two.get_xdata(), [0.9, 0.7, 0.5])
    np.testing.assert_allclose(three.get_xdata(), [0.8, 0.6, 0.4])


@pytest.mark.parametrize("weights", [w for m in (2, 3) for w in gmmp_vae.WEIGHTS[m]])
def test_weights_are_those_of_the_paper(weights):
    assert weights is None or sum(weights) == pytest.approx(1.0, abs=1e-12)


def test_reconstructions_by_m(untrained):
    (figure,) = drawn(untrained, "gmmp-vae-figure-9").values()
    rows = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert rows == ["original", "VAE", *(f"GMMpVAE, M = {m}" for m in (1, 2, 3))]
    runs = reproduce.get("gmmp-vae-figure-6")[1].runs("full")
    assert {run.changes for run in runs} == {("latent_dim=2",)}


def test_toy(untrained):
    chosen = slice(None, None, 3)
    (figure,) = drawn(untrained, "cp-vae-figure-3", chosen).values()
    found = [title.partition(" (")[0] for title in titles(figure)]
    assert found == ["CP-VAE, K = 2", "INDqp, K = 2", "VAE"]
    assert len(reproduce.get("cp-vae-figure-3")[1].runs("full")) == 13
    (figure,) = drawn(untrained, "cp-vae-figure-4").values()
    found = [title.partition(" (")[0] for title in titles(figure)]
    assert found == [f"CP-VAE, K = 2: category {k}" for k in (0, 1)]


def test_priors_of_the_category(untrained):
    run = Run("cp-vae-k10-fashion_mnist")
    model = untrained(run).model
    # All of q(c) on one category: its images are those of that category.
    model.aggregate.assign(np.eye(10, dtype=np.float32)[3])
    (figure,) = drawn(untrained, "cp-vae-figure-5").values()
    assert names(figure)[:2] == ["c drawn from q(c)", "c drawn uniformly"]
    np.testing.assert_array_equal(model.aggregate, np.eye(10)[3])
    own, uniform = (axes.images[0].get_array() for axes in figure.axes[:2])
    expected = figures_of(model.generate(36, component=3, seed=0))
    np.testing.assert_array_equal(own, expected)
    assert (uniform != expected).any()


def figures_of(images):
    """Picture of one grid of images."""
    (axes,) = cp_vae.figures.grids({"": np.asarray(images)}, "", columns=6).axes
    return axes.images[0].get_array()


def test_samples_of_categories_above_their_share(untrained):
    for name, above in (("indp_vae", [1, 4]), ("indqp_vae", [7])):
        share = np.full(10, 0.05, np.float32)
        share[above] += 0.5 / len(above)
        run = Run(f"{name.replace('_', '-')}-k10-fashion_mnist")
        untrained(run).model.aggregate.assign(share)
    (figure,) = drawn(untrained, "cp-vae-figure-8").values()
    assert names(figure) == [
        "INDp, c = 1 (30.0%)",
        "INDp, c = 4 (30.0%)",
        "INDqp, c = 7 (55.0%)",
    ]
    (figure,) = drawn(untrained, "cp-vae-figure-9").values()
    found = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    assert found[3] == pytest.approx([0.05] * 7 + [0.55] + [0.05] * 2)
    assert titles(figure)[3] == "INDqp, K = 10: 1 of 10 above 1/K"


def test_categories_of_labels(untrained):
    (figure,) = drawn(untrained, "cp-vae-figure-12").values()
    one = untrained(Run("indqp-vae-k10-fashion_mnist"))
    x, y = one.test()
    expected = np.asarray(one.model.category_probabilities(x))[y == 2].mean(axis=0)
    axes = figure.axes[7]
    assert axes.get_title(loc="left").startswith("INDqp, label 2: ")
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, expected, rtol=1e-5)
    assert len(titles(figure)) == 10
    (figure,) = drawn(untrained, "cp-vae-figure-13").values()
    assert len(names(figure)) == 40
    assert [name.partition(",")[0] for name in names(figure)[:8]] == (
        ["label 0"] * 4 + ["label 1"] * 4
    )


def test_reconstructed_and_generated(untrained):
    by_data = drawn(untrained, "cgm-figure-2")
    assert list(by_data) == ["cgm2-mnist", "cgm2-fashion_mnist"]
    for figure in by_data.values():
        assert names(figure) == ["test images", "reconstructions", "samples"]


def test_latents_in_the_plane_have_one_panel(untrained):
    by_model = drawn(untrained, "cgm-figure-3")
    others = ["cvae-dcgan-z2-mnist", "info-vae-dcgan-z2-mnist"]
    run = Run("cgm2-mnist", ("latent_dim=2",))
    one = untrained(run)
    assert list(by_model) == [*others, run.name]
    (axes,) = by_model[run.name].axes
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points, one.model.codes(one.test()[0]), atol=1e-6)


def test_rates_and_noise(untrained):
    (figure,) = drawn(untrained, "cgm-figure-4", slice(None, None, 3)).values()
    assert names(figure) == ["test images", "0 bits", "15 bits"]
    (figure,) = drawn(untrained, "cgm-figure-6").values()
    assert names(figure) == ["test images", "noisy", "denoised"]


def test_records_keep_rows_of_runs_with_one_name_apart(untrained, monkeypatch):
    table = reproduce.get("cp-vae-table-3")[1]
    runs = [Run(f"cp-vae{pi}-k10-fashion_mnist") for pi in ("", "-pi")]
    monkeypatch.setattr(Untrained, "history", [{"val_loss": 1.0}], raising=True)
    rows = records(table, [untrained(run) for run in runs])
    assert len(rows) == 2
    (axes,) = cp_vae.figures.comparison(rows, table.title).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        f"CP, fashion_mnist, K = 10 ({run.preset})" for run in runs
    ]
