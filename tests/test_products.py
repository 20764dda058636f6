"""Batched products, small and large, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from mvae_tf.parts.networks.dense import ComponentAffine
from mvae_tf.products import batched_product


def random(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("transposed", ["", "a", "b"])
def test_products_are_those_of_numpy(small, dtype, transposed):
    a, b = random(3, 4, 5).astype(dtype), random(3, 5, 2).astype(dtype)
    given_a = np.swapaxes(a, 1, 2) if transposed == "a" else a
    given_b = np.swapaxes(b, 1, 2) if transposed == "b" else b
    product = batched_product(
        tf.constant(given_a),
        tf.constant(given_b),
        small,
        transpose_a=transposed == "a",
        transpose_b=transposed == "b",
    )
    assert product.dtype == dtype
    tolerance = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(product, a @ b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("units", [3, 5000])
@pytest.mark.parametrize("inputs", [(4, 5), (2, 4, 5)])
def test_gradients_of_small_and_large_layers_are_those_of_numpy(units, inputs):
    layer = ComponentAffine(2, 5, units, "glorot_uniform")
    x, upstream = tf.constant(random(*inputs), tf.float32), random(2, 4, units)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer.affine(x, tf.identity)
    of_x, of_kernel = tape.gradient(
        outputs, [x, layer.kernel], tf.constant(upstream, tf.float32)
    )
    kernel = layer.kernel.numpy().astype(np.float64)
    expected = upstream @ np.swapaxes(kernel, 1, 2)
    expected = expected.sum(0) if len(inputs) == 2 else expected
    np.testing.assert_allclose(of_x, expected, rtol=1e-5, atol=1e-5)
    expected = np.swapaxes(np.broadcast_to(x, (2, 4, 5)), 1, 2) @ upstream
    np.testing.assert_allclose(of_kernel, expected, rtol=1e-5, atol=1e-5)
