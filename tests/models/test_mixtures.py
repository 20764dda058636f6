"""What MVAE and M-VAE add: masks, inspection of components, pruning, identities."""

import harness
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import divergences
from mvae_tf.models.mixture import MixturePosterior
from mvae_tf.noise import BatchNoise


def new_noise():
    return BatchNoise(tf.constant([1, 2]))


SMALL = {"name": "mlp", "hidden": 8}
SAME = {"rtol": 1e-5, "atol": 1e-6}
CASES = [
    harness.Case("mvae", "mvae"),
    harness.Case("m_vae", "m_vae"),
    next(case for case in harness.CASES if case.label == "mvae-conv"),
    next(case for case in harness.CASES if case.label == "m_vae-conv"),
    next(case for case in harness.CASES if case.label == "m_vae-priors"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.label)
def mixture(request):
    """A mixture with weights as after training, images and labels."""
    case = request.param
    model = harness.uncompiled(case.make())
    harness.perturb(model)
    return model, *case.data(num=8)


def test_cross_reconstruction(mixture):
    model, x, y = mixture
    identity = range(model.num_components)
    straight = model.cross_reconstruct(x, identity, y=y)
    np.testing.assert_allclose(straight, model.reconstruct(x, y), **SAME)
    posterior = model.encode(x, y)
    crossed = model.cross_reconstruct(x, [1, 2, 0], component=0, y=y)
    z = tf.gather(posterior["mean"], [1, 2, 0], axis=1)
    weights = tf.one_hot([0] * len(x), 3)
    np.testing.assert_allclose(crossed, model.decode(z, weights, y), **SAME)
    assert not np.allclose(crossed, model.reconstruct(x, y, component=0), **SAME)


def test_dependence_matrix(mixture):
    model, x, y = mixture
    matrix = model.dependence_matrix(x, y).numpy()
    assert matrix.shape == (3, 3)
    np.testing.assert_array_equal(matrix, matrix.T)
    z = model.sample_latents(x, y)
    for i in range(3):
        for j in range(3):
            pair = divergences.dhsic([z[:, i], z[:, j]])
            np.testing.assert_allclose(matrix[i, j], pair, rtol=1e-4, atol=1e-5)
    squared = model.dependence_matrix(x, y, squared=True)
    np.testing.assert_allclose(squared, matrix**2, rtol=1e-4, atol=1e-7)


def test_relabelling_components_changes_nothing(mixture):
    model, x, y = mixture
    relabelled = harness.uncompiled(model._keep([2, 0, 1]))
    np.testing.assert_allclose(
        relabelled.reconstruct(x, y), model.reconstruct(x, y), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        relabelled.encode(x, y)["mean"][:, 0], model.encode(x, y)["mean"][:, 2], **SAME
    )


def test_pruning_keeps_what_the_used_components_do(mixture):
    model, x, y = mixture
    usage = np.mean(model.encode(x, y)["weights"], axis=0)
    threshold = np.sort(usage)[1] - 1e-6
    pruned = harness.uncompiled(model.prune(x, threshold, y=y))
    assert type(pruned) is type(model)
    assert pruned.num_components == 2
    assert pruned.kept_components == tuple(np.flatnonzero(usage >= threshold))
    assert pruned.count_params() < model.count_params()
    for new, old in enumerate(pruned.kept_components):
        np.testing.assert_allclose(
            pruned.reconstruct(x, y, component=new),
            model.reconstruct(x, y, component=old),
            **SAME,
        )
    kept = tf.gather(model.encode(x, y)["weights"], pruned.kept_components, axis=1)
    expected = kept / tf.reduce_sum(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(pruned.encode(x, y)["weights"], expected, rtol=1e-4)
    pruned.compile(mvae_tf.optimizers.FusedAdam(), run_eagerly=True)
    pruned.fit(harness.dataset(x, y), verbose=0)
    with pytest.raises(
        ValueError, match="^Expected a threshold that keeps a component"
    ):
        model.prune(x, 1.1, y=y)


def test_pruning_by_the_mask_keeps_the_most_used():
    case = harness.Case("mvae", "mvae", {"num_components": 5})
    model = case.make()
    harness.perturb(model)
    model.mask_strength.assign(0.0)
    x, _ = case.data()
    pruned = model.prune(x)
    assert pruned.num_components == round(5 * 0.554711)
    usage = np.mean(model.encode(x)["weights"], axis=0)
    assert set(pruned.kept_components) == set(np.argsort(-usage)[:3])
    assert pruned.dropout_rate() == 0.5
    model.mask_strength.assign(50.0)
    assert model.prune(x).num_components == 1


@pytest.mark.parametrize("mask", ["gumbel", "gaussian"])
def test_number_of_selected_components(mask):
    case = harness.Case("mvae", "mvae", {"mask": mask, "num_components": 4})
    model = case.make()
    model.mask_strength.assign(-0.4)
    x, _ = case.data(num=200)
    for threshold in (None, 0.3):
        mean, closed_form = model.selected_components(x, threshold, num_draws=20)
        share = closed_form / 4
        assert 0 < share < 1
        error = 4 * np.sqrt(share * (1 - share) / (200 * 20 * 4))
        assert abs(mean - closed_form) < 4 * error


def test_without_a_mask_all_components_are_selected():
    for case in (CASES[1], harness.Case("mvae", "mvae", {"mask": None})):
        model = case.make()
        assert model.selected_components(case.data()[0]) == (3.0, 3.0)


def test_counting_components_needs_no_labels():
    case = harness.Case("mvae", "mvae", {"num_classes": 3})
    x, _ = case.data()
    mean, closed_form = case.make().selected_components(x)
    assert mean == pytest.approx(closed_form, abs=0.5)


def test_dropout_rate():
    assert mvae_tf.models.MVAE(input_shape=(4,), mask=None).dropout_rate() is None
    rate = mvae_tf.models.MVAE(input_shape=(4,)).dropout_rate()
    assert isinstance(rate, float)
    assert rate == pytest.approx(0.1)


@pytest.mark.parametrize("mask", [None, "gumbel", "gaussian"])
def test_one_component_is_the_vae(mask):
    """MVAE's K = 1 has the VAE's terms and answers, whatever its mask draws."""
    mvae = harness.Case("mvae", "mvae", {"num_components": 1, "mask": mask}).make()
    case = harness.Case("vae", "vae")
    vae = case.make()
    harness.perturb(mvae)
    x, _ = case.data()
    first, second, head = (layer.kernel for layer in mvae.encoder.layers_in_order)
    biases = [layer.bias for layer in mvae.encoder.layers_in_order]
    vae.encoder.set_weights(
        [first, biases[0], second, biases[1], head[..., :-1], biases[2][..., :-1]]
    )
    vae.sub_decoder.set_weights(mvae.sub_decoder.get_weights())
    vae.mix_decoder.set_weights(mvae.mix_decoder.get_weights())
    of_vae = vae.loss_terms(tf.constant(x), None, new_noise(), training=True)
    of_mvae = mvae.loss_terms(tf.constant(x), None, new_noise(), training=True)
    for name, value in of_vae.items():
        np.testing.assert_allclose(of_mvae[name], value, rtol=1e-5)
    np.testing.assert_allclose(of_mvae["dirichlet_kl"], 0.0, atol=1e-6)
    np.testing.assert_allclose(of_mvae["dhsic"], 0.0, atol=1e-5)
    np.testing.assert_allclose(mvae.reconstruct(x), vae.reconstruct(x), **SAME)
    np.testing.assert_allclose(mvae.elbo(x, seed=3), vae.elbo(x, seed=3), rtol=1e-5)
    np.testing.assert_allclose(
        mvae.generate(3, seed=1), vae.generate(3, seed=1), **SAME
    )


def test_masked_weights():
    """b_i = m_i w_i / sum_j m_j w_j of Eq 16, or without its denominator."""
    posterior = MixturePosterior(
        mean=tf.zeros([50, 3, 2]),
        stddev=tf.ones([50, 3, 2]),
        weights=tf.fill([50, 3], 1 / 3),
        scores=tf.ones([50, 3]),
        alpha=tf.fill([50, 3], 0.5),
    )
    for renormalize in (True, False):
        mask = {"name": "gumbel", "renormalize": renormalize, "temperature": 1.0}
        model = harness.Case("mvae", "mvae", {"mask": mask}).make()
        latents = model.draw(posterior, new_noise())
        m, w = np.exp(latents.log_mask), np.exp(latents.log_weights)
        expected = m * w
        if renormalize:
            expected /= np.sum(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(latents.weights, expected, rtol=1e-4, atol=1e-7)
        unmasked = model.draw(posterior, new_noise(), masked=False)
        np.testing.assert_allclose(unmasked.weights, w, rtol=1e-6)
    placed = {"name": "gumbel", "placement": "concentration", "temperature": 1.0}
    model = harness.Case("mvae", "mvae", {"mask": placed}).make()
    latents = model.draw(posterior, new_noise())
    expected = m / np.sum(m, axis=1, keepdims=True)
    np.testing.assert_allclose(latents.alpha, expected, rtol=1e-4)


def within_4_standard_errors(draws, expected):
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    return np.all(np.abs(np.mean(draws, axis=0) - expected) < 4 * error)


def test_draws_of_the_prior():
    """w ~ Dir(1/K) and z_i ~ N(mean_i, stddev_i^2); MVAE masks w as in training."""
    like = tf.zeros([10_000, 3])
    # Each w_i of Dir(1/3, 1/3, 1/3) has mean 1/3 and variance (1/3)(2/3) / 2.
    square = 1 / 9 + 1 / 9
    case = next(case for case in harness.CASES if case.label == "m_vae-priors")
    prior = case.make().draw_prior(like, new_noise())
    w, z = prior.weights.numpy(), prior.z.numpy()
    assert within_4_standard_errors(w, 1 / 3)
    assert within_4_standard_errors(w**2, square)
    means, stddevs = np.array([[-1], [0], [1]]), np.array([[1], [2], [3]])
    assert within_4_standard_errors(z, means)
    assert within_4_standard_errors((z - means) ** 2, stddevs**2)

    placed = {"name": "gumbel", "placement": "concentration"}
    for mask in (None, placed):
        model = harness.Case("mvae", "mvae", {"mask": mask}).make()
        prior = model.draw_prior(like, new_noise())
        assert within_4_standard_errors(np.square(prior.weights), square)
        assert within_4_standard_errors(np.square(prior.z), 1.0)
    model = harness.Case("mvae", "mvae").make()
    masked = model.draw_prior(like, new_noise()).weights
    log_mask = model.mask.log_sample(model.mask_strength.value, like, new_noise())
    expected = np.exp(log_mask) * prior.weights
    expected /= np.maximum(np.sum(expected, axis=1, keepdims=True), 1e-30)
    some = np.max(log_mask, axis=1) > np.log(0.9)
    np.testing.assert_allclose(masked[some], expected[some], rtol=1e-3, atol=1e-5)


def test_objective_of_the_paper():
    """Eq 24: reconstruction + Dirichlet KL + mean Gaussian KL + dHSIC - H(p)."""
    weights = {"kl_weight": 0.5, "dirichlet_weight": 2.0, "independence_weight": 10.0}
    case = harness.Case("mvae", "mvae", weights)
    model = case.make()
    x, _ = case.data()
    terms = model.loss_terms(tf.constant(x), None, new_noise(), training=False)
    posterior = model.infer(tf.constant(x))
    latents = model.draw(posterior, new_noise())
    decoded = model.decode(latents.z, latents.weights).numpy()
    np.testing.assert_allclose(
        terms["reconstruction"],
        -np.sum(x * np.log(decoded) + (1 - x) * np.log1p(-decoded), axis=(1, 2, 3)),
        rtol=1e-4,
    )
    kl = divergences.gaussian_kl(posterior.mean, posterior.stddev)
    np.testing.assert_allclose(terms["kl"], np.mean(kl, axis=1), rtol=1e-5)
    np.testing.assert_allclose(terms["mask"], -0.325083, atol=1e-6)
    objective = model.objective(terms, model.final_weights, tf.constant(x))
    expected = (
        terms["reconstruction"]
        + 0.5 * terms["kl"]
        + 2.0 * terms["dirichlet_kl"]
        + 10.0 * terms["dhsic"]
        + terms["mask"]
    )
    np.testing.assert_allclose(objective, expected, rtol=1e-5)
    summed = harness.Case("mvae", "mvae", {"kl_reduction": "sum"}).make()
    summed = summed.loss_terms(tf.constant(x), None, new_noise(), training=False)
    np.testing.assert_allclose(summed["kl"], 3 * terms["kl"], rtol=1e-5)


def test_mixture_of_vaes_mixes_images():
    case = CASES[1]
    model = case.make()
    harness.perturb(model)
    x, _ = case.data()
    images = [model.reconstruct(x, component=i) for i in range(3)]
    weights = model.encode(x)["weights"]
    mixed = np.einsum("bk,kb...->b...", weights, images)
    np.testing.assert_allclose(model.reconstruct(x), mixed, rtol=1e-4, atol=1e-5)


def test_latent_sources_feed_sub_decoders():
    model = mvae_tf.create(
        "mvae", (4, 4, 1), num_components=3, latent_dim=2, network=SMALL
    )
    slipped = type(model).from_config(
        model.get_config() | {"latent_sources": [0, 1, 1]}
    )
    slipped.set_weights(model.get_weights())
    z = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("float32")
    np.testing.assert_array_equal(slipped.decode(z), model.decode(z[:, [0, 1, 1]]))
    assert slipped.get_config()["latent_sources"] == [0, 1, 1]


def test_pruning_keeps_the_latents_that_sub_decoders_read():
    model = mvae_tf.create(
        "mvae",
        (4, 4, 1),
        num_components=3,
        latent_dim=2,
        network=SMALL,
        latent_sources=[0, 0, 1],
    )
    pruned = model._keep([2])
    assert pruned.kept_components == (0, 1, 2)
    pruned = model._keep([1])
    assert pruned.kept_components == (0, 1)
    assert pruned.latent_sources == [0, 0]


@pytest.mark.parametrize("sources", [[0, 1], [0, 1, 3], [0, 1, -1], [0, 1, 1.0]])
def test_latent_sources_out_of_range(sources):
    with pytest.raises(ValueError, match="latent_sources as 3 indices in 0..2"):
        mvae_tf.create("mvae", (4, 4, 1), num_components=3, latent_sources=sources)
