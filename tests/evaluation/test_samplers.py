"""Samplers of latents: what they draw, for every model, and what they refuse."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf import samplers, storage
from mvae_tf.models.hooks import Posterior

NETWORK = {"name": "mlp", "hidden": 8}
IMAGES = np.random.default_rng(0).uniform(size=(40, 4, 4, 1)).astype("float32")
LABELS = np.arange(40) % 3
KINDS = list(samplers.KINDS.values())


def make(name="mvae", seed=0, **arguments):
    size = {"hidden": 8} if name in ("hvae", "hvamp_vae") else {"network": NETWORK}
    return mvae_tf.create(name, (4, 4, 1), latent_dim=4, seed=seed, **size, **arguments)


def fit(kind, model, **options):
    y = LABELS if model.conditional else None
    return kind.fit(model, IMAGES, y, num_components=4, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", mvae_tf.names())
def test_every_model_generates_from_a_sampler(name, kind, tmp_path):
    model = make(name)
    sampler = fit(kind, model)
    images = model.generate(5, seed=3, sampler=sampler).numpy()
    assert images.shape == (5, 4, 4, 1)
    assert np.isfinite(images).all()
    loaded = samplers.load(sampler.save(tmp_path / "sampler.npz"))
    assert storage.verify(tmp_path / "sampler.npz")
    np.testing.assert_array_equal(
        model.generate(5, seed=3, sampler=loaded).numpy(), images
    )
    # A row is a function of the seed and of its index.
    few = model.generate(2, seed=3, sampler=sampler).numpy()
    np.testing.assert_allclose(few, images[:2], rtol=1e-5, atol=1e-6)
    assert not np.array_equal(images, model.generate(5, seed=3).numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_conditional_models(kind):
    model = make(num_classes=3, num_components=2)
    images = model.generate(4, y=1, seed=0, sampler=fit(kind, model))
    assert images.shape == (4, 4, 4, 1)


class KnownPosterior(mvae_tf.models.VAE):
    """A VAE whose posterior is known: means on a line, a small stddev."""

    def infer(self, x, y=None, noise=None, training=False):
        side = tf.where(x[:, 0, 0, 0] > 0.5, 4.0, -4.0)
        mean = side[:, tf.newaxis, tf.newaxis] * [1.0, 0.5, 0.0]
        mean += tf.constant([0.0, 0.0, 2.0])
        stddev = tf.ones_like(mean) * [0.1, 0.1, 0.5]
        return Posterior(mean, stddev, tf.ones_like(mean[..., 0]))


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_distributed_as_posterior_draws(kind):
    model = KnownPosterior((4, 4, 1), latent_dim=3, network=NETWORK)
    x = np.random.default_rng(1).uniform(size=(600, 4, 4, 1)).astype("float32")
    options = {"num_components": 2 if kind is samplers.GaussianMixture else 600}
    sampler = kind.fit(model, x, **options)
    noise = mvae_tf.noise.RowNoise(mvae_tf.noise.index_seeds(4000, 0))
    z = sampler.draw(model, tf.zeros([4000, 1]), noise).z.numpy()[:, 0]
    share = np.mean(x[:, 0, 0, 0] > 0.5)
    assert np.mean(z[:, 0] > 0) == pytest.approx(share, abs=0.03)
    upper = z[z[:, 0] > 0]
    np.testing.assert_allclose(upper.mean(axis=0), [4.0, 2.0, 2.0], atol=0.05)
    np.testing.assert_allclose(upper.std(axis=0), [0.1, 0.1, 0.5], rtol=0.1)


def test_a_gaussian_keeps_the_dependence_of_components():
    # The two components of this model have the same latent, which no prior would draw.
    class Twins(mvae_tf.models.MVAE):
        def draw(self, posterior, noise):
            latents = super().draw(posterior, noise)
            return latents._replace(z=tf.repeat(latents.z[:, :1], 2, axis=1))

    model = Twins((4, 4, 1), num_components=2, latent_dim=3, network=NETWORK)
    sampler = samplers.GaussianMixture.fit(model, IMAGES, num_components=1)
    noise = mvae_tf.noise.RowNoise(mvae_tf.noise.index_seeds(100, 0))
    z = sampler.draw(model, tf.zeros([100, 2]), noise).z.numpy()
    np.testing.assert_allclose(z[:, 0], z[:, 1], atol=0.02)
    assert z[:, 0].std() > 0.1


def test_categories_keep_their_proportions():
    model = make("cp_vae", num_components=3)
    sampler = samplers.GaussianMixture.fit(model, IMAGES, num_components=1)
    expected = model.encode(IMAGES)["weights"].numpy().mean(axis=0)
    noise = mvae_tf.noise.RowNoise(mvae_tf.noise.index_seeds(3000, 0))
    weights = sampler.draw(model, tf.zeros([3000, 3]), noise).weights.numpy()
    assert set(np.unique(weights)) == {0.0, 1.0}
    # 40 draws of one category for each image lie behind the proportions.
    np.testing.assert_allclose(weights.mean(axis=0), expected, atol=0.25)
    kept = sampler.arrays["weights"][0]
    np.testing.assert_allclose(weights.mean(axis=0), kept, atol=0.03)


def test_of_large_latents_only_the_diagonal_is_fitted():
    model = mvae_tf.create("vae", (4, 4, 1), latent_dim=600, network=NETWORK)
    sampler = fit(samplers.GaussianMixture, model)
    assert sampler.arrays["roots"].shape == (4, 600)
    assert model.generate(2, seed=0, sampler=sampler).shape == (2, 4, 4, 1)


def test_a_sampler_of_other_weights_is_refused(tmp_path):
    model, other = make(), make(seed=1)
    sampler = fit(samplers.VampPrior, model)
    with pytest.raises(ValueError, match="fitted to this model.*fit it again"):
        other.generate(1, sampler=sampler)
    with pytest.raises(ValueError, match="fitted to this model"):
        mvae_tf.export(other, tmp_path / "served", sampler=sampler)
    assert not (tmp_path / "served").exists()
    model.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras").generate(1, sampler=sampler)


def test_mistakes(tmp_path):
    model = make()
    sampler = fit(samplers.VampPrior, model)
    with pytest.raises(ValueError, match="a component or a sampler, got both"):
        model.generate(1, component=0, sampler=sampler)
    with pytest.raises(ValueError, match=r"num_components in 1\.\.40"):
        samplers.GaussianMixture.fit(model, IMAGES, num_components=41)
    with pytest.raises(ValueError, match=r"Expected a file FILE\.npz"):
        sampler.save(tmp_path / "sampler.pkl")
    with pytest.raises(FileNotFoundError, match="Expected a sampler at"):
        samplers.load(tmp_path / "gone.npz")
    np.savez(tmp_path / "other.npz", x=IMAGES)
    with pytest.raises(ValueError, match=r"other\.npz is no sampler"):
        samplers.load(tmp_path / "other.npz")
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickle.npz", record=objects)
    with pytest.raises(ValueError, match=r"pickle\.npz is no sampler"):
        samplers.load(tmp_path / "pickle.npz")
    model.encoder.trainable_variables[0].assign_add(
        np.full(model.encoder.trainable_variables[0].shape, np.nan)
    )
    with pytest.raises(ValueError, match="the model has diverged"):
        samplers.GaussianMixture.fit(model, IMAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_export_generates_from_the_sampler(kind, tmp_path):
    model = make(num_components=2)
    sampler = fit(kind, model)
    folder = mvae_tf.export(model, tmp_path / "served", sampler=sampler)
    served = tf.saved_model.load(str(folder)).signatures["generate"]
    seeds = tf.constant([[0, 7], [1, 7]])
    np.testing.assert_allclose(
        served(seed=seeds)["images"],
        model.generate(2, seed=7, sampler=sampler),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("kind", ["GaussianMixture", "VampPrior"])
def test_what_no_sampler_can_be_fitted_to_is_refused(kind):
    model = mvae_tf.create("vae", (2,), latent_dim=1, num_classes=2, network="mlp")
    fit = getattr(mvae_tf.samplers, kind).fit
    x, y = np.full((4, 2), 0.5, np.float32), [0, 1, 0, 1]
    data = tf.data.Dataset.from_tensor_slices(x).batch(2)
    bad = np.where(np.arange(8).reshape(4, 2) == 7, np.nan, x)
    for message, arguments in (
        ("Expected an array of images, got a data set", (data, y)),
        ("Expected at least one image, got none", (x[:0], y[:0])),
        ("Expected finite pixels, got NaN or inf in image 3", (bad, y)),
        ("Expected 4 labels, got shape", (x, y * 2)),
        ("Expected num_components as an integer >= 1, got 2.5", (x, y, 2.5)),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            fit(model, *arguments)
    with pytest.raises(TypeError, match="^Expected a model of mvae_tf, got Sequential"):
        fit(keras.Sequential(), x)


@pytest.mark.parametrize(
    "record", [{"kind": ["x"]}, {"kind": "vamp_prior"}, [1], {"kind": 5}]
)
def test_an_archive_of_something_else_is_no_sampler(tmp_path, record):
    path = tmp_path / "sampler.npz"
    if isinstance(record, dict):
        record["model_digest"] = 0
    np.savez(path, record=np.array(json.dumps(record)), x=np.zeros(3))
    with pytest.raises(ValueError, match="is no sampler: "):
        mvae_tf.samplers.load(path)
