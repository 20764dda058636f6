"""Convolutional networks: gated, PixelCNN and DCGAN; decoders that read pixels."""

import dataclasses
import itertools
import math

import harness
import numpy as np
import pytest
import tensorflow as tf
from scipy import signal, special, stats

import mvae_tf
from mvae_tf.models.hooks import Draw
from mvae_tf.noise import BatchNoise
from mvae_tf.parts import likelihoods, networks
from mvae_tf.parts.networks.dense import ComponentAffine
from mvae_tf.parts.networks.gated_conv import GatedConv2D

GATED = {
    "name": "gated_conv",
    "encoder_layers": [[3, 5, 1], [4, 3, 2]],
    "hidden": 5,
    "decoder_filters": [3, 4],
}
PIXEL = {"name": "pixel", "encoder_layers": [[3, 3, 2]], "filters": 8, "depth": 2}
DCGAN = {"name": "dcgan", "filters": [3, 4], "units": 6}
RESIDUAL = {
    "name": "dcgan",
    "filters": [3],
    "units": 0,
    "batch_norm": True,
    "residual_blocks": 1,
}
CASES = [
    harness.Case("gated_conv", "vae", {"network": GATED, "input_shape": (5, 3, 1)}),
    harness.Case("pixel", "vae", {"network": PIXEL, "input_shape": (3, 2, 1)}),
    harness.Case("dcgan", "vae", {"network": DCGAN}),
    harness.Case("residual", "vae", {"network": RESIDUAL, "num_classes": 3}),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
each_network = pytest.mark.parametrize(
    "network", [GATED, PIXEL, DCGAN, RESIDUAL], ids=lambda network: network["name"]
)


def pixel_model(input_shape=(2, 2, 1), **arguments):
    """A PixelVAE whose weights are far enough from 0 for pixels to matter."""
    arguments = {"network": PIXEL} | arguments
    model = mvae_tf.create("vae", input_shape=input_shape, latent_dim=2, **arguments)
    harness.perturb(model, 0.5)
    return model


def count(*layers):
    variables = [v for layer in layers for v in layer.trainable_variables]
    return sum(math.prod(variable.shape) for variable in variables)


# === Models on these networks ===


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.label)
def trained(request):
    """A model after two steps and a shove, with its images and labels."""
    x, y = request.param.data()
    model = request.param.compiled()
    model.fit(harness.dataset(x, y), verbose=0)
    harness.perturb(model)
    return harness.uncompiled(model), x, y


def test_shapes(trained):
    harness.check_shapes(*trained)
    harness.check_static_shapes(*trained)


def test_answers(trained):
    harness.check_answers(*trained)


def test_seeded_answers(trained):
    harness.check_seeded_answers(*trained)


def test_keras_file(trained, tmp_path):
    harness.check_keras_file(*trained, tmp_path)


@pytest.mark.slow
def test_export(trained, tmp_path):
    model, x, y = trained
    served = tf.saved_model.load(str(mvae_tf.export(model, tmp_path)))
    labels = {} if y is None else {"label": tf.constant(y, tf.int32)}
    images = served.signatures["serving_default"](x=tf.constant(x), **labels)["images"]
    np.testing.assert_allclose(images, model.reconstruct(x, y), atol=1e-5)
    seeds = tf.constant([[i, 5] for i in range(len(x))])
    images = served.signatures["generate"](seed=seeds, **labels)["images"]
    np.testing.assert_allclose(images, model.generate(len(x), y=y, seed=5), atol=1e-5)


@each_case
def test_configuration(case):
    harness.check_config(case)


@each_case
def test_gradients(case):
    harness.check_gradients(case)


@each_case
def test_mixed_precision(case):
    x, y = case.data(num=4)
    model = case.compiled(dtype="mixed_bfloat16")
    history = model.fit(harness.dataset(x, y), verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert model.decode(model.encode(x, y)["mean"], y=y).dtype == tf.float32


@pytest.mark.parametrize("network", [GATED, RESIDUAL], ids=["gated_conv", "dcgan"])
def test_a_decoder_for_each_component(network):
    harness.check_gradients(harness.Case("m_vae", "m_vae", {"network": network}))


# === Sizes ===


def test_parameters_of_the_published_networks():
    """Counts of the authors' layers, at 28 x 28 pixels and 40 latents."""
    mlp = mvae_tf.create("vae", latent_dim=40, network="gated_mlp")
    assert count(mlp) == 1_116_864
    gated = mvae_tf.create("vae", latent_dim=40, network="gated_conv")
    assert count(*gated.encoder.branches) == 205_004
    assert count(*gated.encoder.heads) == 23_600
    assert count(gated.sub_decoder, gated.mix_decoder) == 719_481
    pixel = mvae_tf.create("vae", latent_dim=40, network="pixel")
    assert count(pixel.encoder) == 205_004 + 23_600
    assert count(pixel.sub_decoder, pixel.mix_decoder) == 324_577


def test_parameters_of_dcgan():
    dcgan = mvae_tf.create("vae", latent_dim=20, network="dcgan")
    narrow, wide, dense = 16 * 64 + 64, 16 * 64 * 128 + 128, 7 * 7 * 128
    assert count(*dcgan.encoder.branches) == narrow + wide + dense * 1024 + 1024
    assert count(*dcgan.encoder.heads) == 1024 * 40 + 40
    assert count(dcgan.sub_decoder) == 20 * 1024 + 1024
    decoder = 1024 * dense + dense + 16 * 128 * 64 + 64 + 16 * 64 + 1
    assert count(dcgan.mix_decoder) == decoder

    network = {"name": "dcgan", "filters": [64, 128, 256, 512], "batch_norm": True}
    network["units"] = 0
    cifar = mvae_tf.create("vae", (32, 32, 3), latent_dim=300, network=network)
    pairs = list(itertools.pairwise([64, 128, 256, 512]))
    strided = sum(16 * a * b for a, b in pairs)
    ends = 16 * 3 * 64
    encoder = ends + 64 + strided + 2 * (128 + 256 + 512)
    assert count(*cifar.encoder.branches) == encoder
    assert count(*cifar.encoder.heads) == 2 * 2 * 512 * 600 + 600
    assert count(cifar.sub_decoder) == 300 * 2 * 2 * 512 + 2 * 512
    decoder = strided + 2 * (64 + 128 + 256) + ends + 3
    assert count(cifar.mix_decoder) == decoder


def test_parameters_of_residual_blocks():
    plain, blocks = (
        mvae_tf.create(
            "vae", (8, 8, 3), network=DCGAN | {"batch_norm": True, "residual_blocks": n}
        )
        for n in (0, 2)
    )
    block = sum(2 * (9 * c * c + 2 * c) for c in (3, 4))
    assert count(blocks) == count(plain) + 2 * 2 * block


@pytest.mark.parametrize(
    ("sides", "features"), [((28, 28), 294), ((28, 20), 210), ((32, 32), 384)]
)
def test_sizes_of_images(sides, features):
    part = networks.get("gated_conv").for_images((*sides, 1))
    spec = networks.NetworkSpec((*sides, 1), (*sides, 2), 4, 1)
    encoder = part.encoder(spec)
    assert encoder.heads[0].kernel.shape == (features, 8)
    decoder = part.mix_decoder(dataclasses.replace(spec, num_components=None))
    assert decoder(tf.zeros([2, 300])).shape == (2, *sides, 2)


def test_fully_convolutional_decoder_makes_its_first_map_by_convolution():
    model = mvae_tf.create(
        "vae", (12, 8, 1), latent_dim=3, network=DCGAN | {"units": 0}
    )
    assert model.sub_decoder(tf.zeros([5, 1, 3])).shape == (1, 5, 3, 2, 4)
    assert count(model.sub_decoder) == 3 * 3 * 2 * 4 + 4


@pytest.mark.parametrize(
    ("model", "input_shape", "network", "message"),
    [
        ("vae", (16,), GATED, "^Expected images .* 'gated_conv', got [(]16,[)][.]$"),
        ("vae", (4, 4, 3), PIXEL, "^Expected images of one channel .* 'pixel', got"),
        ("mvae", (4, 4, 1), PIXEL, "^Expected a network for MVAE .* got 'pixel'[.]$"),
        ("vae", (6, 8, 1), DCGAN, "^Expected sides that are multiples of 4 .* [(]6, 8"),
        (
            "vae",
            (4, 4, 1),
            GATED | {"encoder_layers": [[3, 4, 1]]},
            "^Expected encoder_layers .*odd kernel.* got .3, 4, 1.[.]$",
        ),
    ],
)
def test_refusals(model, input_shape, network, message):
    with pytest.raises(ValueError, match=message) as caught:
        mvae_tf.create(model, input_shape, network=network)
    assert "\n" not in str(caught.value)


# === Layers ===


def test_gated_convolution_against_scipy():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(6, 5)).astype("float32")
    layer = GatedConv2D(2, 3, 2, "glorot", seed=0)
    layer.build((None, 6, 5, 1))
    layer.bias.assign(rng.normal(size=4))
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    maps = [
        signal.correlate2d(image, kernel[:, :, 0, i], "same")[::2, ::2] + bias[i]
        for i in range(4)
    ]
    expected = [maps[i] * special.expit(maps[i + 2]) for i in range(2)]
    outputs = layer(image[np.newaxis, :, :, np.newaxis])
    assert layer.compute_output_shape((None, 6, 5, 1)) == (None, 3, 3, 2)
    np.testing.assert_allclose(outputs[0], np.stack(expected, -1), atol=1e-5)


@pytest.mark.parametrize("rows", [3, 0])
@pytest.mark.parametrize("own_input", [False, True])
@pytest.mark.parametrize("num", [1, 2])
def test_dense_layers_are_affine_maps_of_each_component(num, own_input, rows):
    rng = np.random.default_rng(0)
    shape = (num, rows, 4) if own_input else (rows, 4)
    x, bias = (rng.normal(size=s).astype("float32") for s in (shape, (num, 1, 5)))
    layer = ComponentAffine(num, 4, 5, "glorot_uniform")
    layer.bias.assign(bias)
    kernel = layer.kernel.numpy()
    with tf.GradientTape() as tape:
        tensors = [tf.constant(x), layer.kernel.value, layer.bias.value]
        tape.watch(tensors)
        outputs = layer.affine(tensors[0], tf.tanh)
    inputs = np.broadcast_to(x, (num, rows, 4))
    expected = np.tanh(np.einsum("kbi,kio->kbo", inputs, kernel) + bias)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    slope = 1.0 - expected**2
    of_x, of_kernel, of_bias = tape.gradient(outputs, tensors)
    np.testing.assert_allclose(
        of_kernel, np.einsum("kbi,kbo->kio", inputs, slope), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        of_bias, slope.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-5
    )
    own = np.einsum("kbo,kio->kbi", slope, kernel)
    expected = own if own_input else own.sum(axis=0)
    np.testing.assert_allclose(of_x, expected, rtol=1e-4, atol=1e-5)


@each_network
def test_component_i_starts_alike_whatever_the_number_of_components(network):
    def make(kind, components, **arguments):
        part = networks.get(network).for_images((4, 4, 1))
        arguments |= {"seed": 3, "name": kind}
        shape = (4, 4, 1)
        spec = networks.NetworkSpec(shape, shape, 2, components, **arguments)
        return getattr(part, kind)(spec)

    x = tf.random.stateless_uniform([3, 4, 4, 1], [0, 1])
    z = tf.random.stateless_normal([3, 4, 2], [0, 2])
    few, many = (make("encoder", k, scores=True)(x) for k in (2, 4))
    for first, second in zip(few, many, strict=True):
        np.testing.assert_allclose(first, second[:, :2], atol=1e-6)
    assert np.ptp(many[0], axis=1).min() > 1e-5
    few, many = (make("sub_decoder", k)(z[:, :k]) for k in (2, 4))
    np.testing.assert_allclose(few, many[:2], atol=1e-6)


def test_copies_of_gated_decoders():
    part = networks.get(GATED).for_images((4, 4, 1))
    source, copy = (
        part.mix_decoder(networks.NetworkSpec((4, 4, 1), (4, 4, 1), 2, k, seed=k))
        for k in (3, 2)
    )
    features = tf.random.stateless_normal([3, 2, 5], [0, 1])
    copy.copy_components(source, [2, 0])
    np.testing.assert_allclose(
        copy(tf.gather(features, [2, 0])), tf.gather(source(features), [2, 0])
    )


# === Pixels in raster order ===


def jacobians(sides=(4, 3)):
    """How outputs of each pixel depend on pixels, and on the map of the latent."""
    part = networks.get(PIXEL | {"filters": 16}).for_images((*sides, 1))
    shape = (*sides, 1)
    decoder = part.mix_decoder(networks.NetworkSpec(shape, shape, 2, None))
    num = math.prod(sides)
    x = tf.random.stateless_uniform([1, *sides, 1], [0, 1])
    maps = tf.random.stateless_normal([1, num], [0, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, maps])
        outputs = tf.reshape(decoder(maps, x=x), [num])
    return [
        tf.reshape(tape.jacobian(outputs, source), [num, num]).numpy()
        for source in (x, maps)
    ]


def test_each_pixel_depends_on_those_before_it_alone():
    for jacobian in jacobians():
        np.testing.assert_array_equal(np.triu(jacobian), 0.0)
        assert np.all(np.any(jacobian[1:] != 0, axis=1))


def test_draws_of_pixels_follow_the_probabilities_of_whole_images():
    model = pixel_model()
    every = np.array(list(itertools.product([0.0, 1.0], repeat=4)), "float32")
    z = tf.constant([[[0.7, -1.2]]])
    latents = Draw(tf.repeat(z, 16, 0), tf.ones([16, 1]))
    log_probs = model.log_prob_given(tf.reshape(every, [16, 2, 2, 1]), latents)
    probabilities = np.exp(np.float64(log_probs))
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)

    num = 20_000
    noise = BatchNoise(tf.constant([1, 2]))
    drawn = model.decode_batch(tf.repeat(z, num, 0), tf.ones([num, 1]), None, noise)
    index = np.reshape(drawn, [num, 4]) @ [8, 4, 2, 1]
    counts = np.bincount(index.astype(int), minlength=16)
    probabilities /= probabilities.sum()
    assert stats.chisquare(counts, num * probabilities).pvalue > 1e-3
    on = np.float64(drawn).mean(0).ravel()
    independent = np.prod(np.where(every, on, 1 - on), axis=1)
    assert stats.chisquare(counts, num * independent).pvalue < 1e-6


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
def test_decoding_feeds_back_the_mean_of_each_pixel(likelihood):
    """Row by row, from what the layers keep, as in one pass over the whole image."""
    network = PIXEL | {"depth": 3}
    model = pixel_model((6, 5, 1), likelihood=likelihood, network=network)
    for variable in model.mix_decoder.non_trainable_variables:
        variable.assign(np.linspace(0.5, 2.0, math.prod(variable.shape)))
    z = tf.random.stateless_normal([4, 1, 2], [0, 1])
    images = model.decode(z)
    outputs = model.decode_outputs(z, tf.ones([4, 1]), x=images)
    np.testing.assert_allclose(model.likelihood.mean(outputs), images, atol=1e-6)
    blind = model.decode_outputs(z, tf.ones([4, 1]), x=tf.zeros_like(images))
    assert not np.allclose(model.likelihood.mean(blind), images, atol=1e-4)
    drawn = model.generate(4, seed=0)
    assert np.all((drawn >= 0) & (drawn <= 1))


# === Quantiles ===


def test_quantiles_against_scipy():
    outputs = np.linspace(-3.0, 3.0, 7).reshape(1, 7, 1, 1).astype("float32")
    uniform = np.linspace(0.03, 0.97, 7)[::-1].reshape(outputs.shape).astype("float32")

    def quantile(name, **arguments):
        likelihood = likelihoods.get({"name": name, **arguments})
        return likelihood.quantile(tf.constant(outputs), tf.constant(uniform)).numpy()

    mean = special.expit(outputs.astype("float64"))
    np.testing.assert_array_equal(
        quantile("bernoulli"), stats.bernoulli(mean).ppf(uniform)
    )
    wide = {"activation": "linear", "low": -9, "high": 9}
    for name, variance in (("sse", 0.5), ("half_sse", 1.0)):
        expected = stats.norm(outputs, math.sqrt(variance)).ppf(uniform)
        np.testing.assert_allclose(quantile(name, **wide), expected, rtol=1e-5)
        clipped = np.clip(expected, 0.0, 1.0)
        np.testing.assert_allclose(quantile(name), clipped, rtol=1e-5, atol=1e-6)
    x, m = quantile("continuous_bernoulli").astype("float64"), mean + 1e-9
    cdf = (m**x * (1 - m) ** (1 - x) + m - 1) / (2 * m - 1)
    np.testing.assert_allclose(cdf, uniform, atol=1e-4)


def test_quantiles_of_grey_levels_have_the_probabilities_of_the_bins():
    likelihood = likelihoods.DiscretizedLogistic(open_edges=True)
    num = 2**16
    uniform = (np.arange(num) + 0.5) / num
    for mean, log_scale in ((0.3, -3.5), (0.9, -1.0)):
        outputs = tf.constant([mean, log_scale], shape=[1, 1, 1, 2])
        uniform = tf.constant(uniform, tf.float32, [num, 1, 1, 1])
        drawn = likelihood.quantile(tf.repeat(outputs, num, 0), uniform)
        bins = np.ravel(drawn) * 256 - 0.5
        np.testing.assert_array_equal(bins, np.round(bins))
        shares = np.bincount(bins.astype(int), minlength=256) / num
        centres = (tf.reshape(tf.range(256.0), [256, 1, 1, 1]) + 0.5) / 256
        log_probs = likelihood.log_prob(centres, tf.repeat(outputs, 256, 0))
        np.testing.assert_allclose(shares, np.exp(log_probs), atol=3 / num)


# The convolutional network of the MVAE paper fits itself to the images.


@pytest.mark.parametrize(
    ("sides", "filters", "feature_map", "strides"),
    [
        # The authors' networks.
        ((32, 32), 4, [8, 8, 256], [2, 1, 2, 1]),
        ((64, 64), 4, [8, 8, 256], [2, 1, 2, 1, 2]),
        ((30, 30), 4, [8, 8, 256], [2, 1, 2, 1]),
        ((28, 28), 4, [7, 7, 256], [2, 1, 2, 1]),
        ((218, 178), 6, [7, 6, 256], [2, 1, 2, 1, 2, 2, 2]),
        ((4, 4), 4, [4, 4, 256], [1]),
        ((5, 37), 4, [1, 5, 256], [2, 1, 2, 1, 2]),
    ],
)
def test_conv_fits_itself_to_the_images(sides, filters, feature_map, strides):
    fitted = networks.get("conv").for_images((*sides, 3))
    config = fitted.get_config()
    assert (len(config["filters"]), config["feature_map"]) == (filters, feature_map)
    assert [stride for _, stride in config["decoder"]] == strides
    assert networks.get(config).for_images((*sides, 3)).get_config() == config
    few = config | {"filters": [1] * filters, "feature_map": [*feature_map[:2], 1]}
    few |= {"decoder": [[1, stride] for stride in strides], "units": 2}
    model = mvae_tf.create(
        "vae", input_shape=(*sides, 3), latent_dim=2, network=few, likelihood="sse"
    )
    x = np.random.default_rng(0).uniform(size=(2, *sides, 3)).astype("float32")
    assert model.reconstruct(x).shape == (2, *sides, 3)
