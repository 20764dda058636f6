"""MVAE learns real digits within seconds (skipped where there are none)."""

import numpy as np
import pytest

import mvae_tf
from mvae_tf.optimizers import FusedAdam


@pytest.fixture(scope="module")
def digits(real_data):
    path = real_data / "mnist.npz"
    if not path.is_file():
        pytest.skip(f"no mnist.npz in {real_data}")
    with np.load(path, allow_pickle=False) as arrays:
        images = arrays["x_train"][:2200]
    images = images.reshape(-1, 28, 28, 1).astype("float32") / 255
    return images[:2000], images[2000:]


def test_held_out_digits_are_reconstructed(digits):
    train, held_out = digits
    model = mvae_tf.create(
        "mvae", latent_dim=10, num_components=3, network={"name": "mlp", "hidden": 100}
    )
    model.compile(FusedAdam(3e-3))
    before = np.mean(model.elbo(held_out, seed=0))
    model.fit(train, batch_size=100, epochs=8, verbose=0)

    def sse(images):
        return np.mean(np.sum(np.square(images - held_out), axis=(1, 2, 3)))

    assert sse(model.reconstruct(held_out)) < 0.7 * sse(np.mean(train, axis=0))
    bound = np.mean(model.elbo(held_out, seed=0))
    likelihood = np.mean(model.log_likelihood(held_out[:100], 50, seed=0))
    assert before < bound < 0
    assert np.mean(model.elbo(held_out[:100], seed=0)) < likelihood < 0
