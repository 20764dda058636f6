"""Parameter counts of the published architectures."""

import pytest

import mvae_tf


def conv(filters=(64, 128, 256, 512), **arguments):
    return {"name": "conv", "filters": filters, **arguments}


def trainable(*layers):
    return sum(
        variable.shape.num_elements()
        for layer in layers
        for variable in layer.trainable_variables
    )


@pytest.mark.parametrize(
    ("components", "total"), [(1, 1_362_386), (4, 3_519_689), (6, 4_957_891)]
)
def test_mnist(components, total):
    model = mvae_tf.create("mvae", num_components=components)
    assert trainable(model.encoder) == components * 693_601
    assert trainable(model.sub_decoder) == components * 25_500
    assert trainable(model.mix_decoder) == 643_284
    assert trainable(model) == total
    assert model.mask_strength.shape == ()


def test_conditional_mnist_widens_the_first_layer_by_the_labels():
    model = mvae_tf.create("mvae", num_components=2, latent_dim=2, num_classes=10)
    shapes = [layer.kernel.shape for layer in model.encoder.layers_in_order]
    assert shapes == [(2, 794, 510), (2, 510, 500), (2, 500, 5)]
    assert model.sub_decoder.layers_in_order[0].kernel.shape == (2, 12, 500)
    assert model.mix_decoder.layers_in_order[0].kernel.shape == (1, 500, 500)


def test_single_vae_has_the_nets_of_one_component_without_its_score():
    model = mvae_tf.create("vae")
    assert trainable(model) == 1_362_386 - 1 - 501


def test_m_vae_has_a_mix_decoder_a_component():
    model = mvae_tf.create("m_vae", num_components=3, latent_dim=50)
    assert trainable(model) == 3 * (693_601 + 25_500 + 643_284)


@pytest.mark.parametrize(
    (
        "image_size",
        "latent_dim",
        "components",
        "network",
        "encoder",
        "sub",
        "mix",
        "total",
    ),
    [
        pytest.param(
            32, 256, 6, conv(), 4_176_769, 4_211_200, 2_369_283, 52_697_098, id="cifar"
        ),
        pytest.param(
            32,
            128,
            4,
            conv(
                kernel_size=5,
                units=0,
                feature_map=(2, 2, 512),
                decoder=((256, 2), (128, 2), (64, 2)),
                output_stride=2,
            ),
            4_834_945,
            265_216,
            4_306_947,
            24_707_592,
            id="cifar-k4",
        ),
        pytest.param(
            64,
            256,
            6,
            conv(decoder=((256, 2), (256, 1), (256, 2), (256, 1), (128, 2))),
            10_468_225,
            4_211_200,
            2_661_123,
            90_737_674,
            id="celeba",
        ),
    ],
)
def test_convolutional(
    image_size, latent_dim, components, network, encoder, sub, mix, total
):
    """One component is built; `test_parts` shows that counts grow linearly."""
    model = mvae_tf.create(
        "mvae",
        input_shape=(image_size, image_size, 3),
        latent_dim=latent_dim,
        num_components=1,
        network=network,
        likelihood={"name": "sse", "activation": "tanh"},
    )
    assert trainable(model.encoder) == encoder
    assert trainable(model.sub_decoder) == sub
    assert trainable(model.mix_decoder) == mix
    assert trainable(model) == encoder + sub + mix + 1
    assert components * (encoder + sub) + mix + 1 == total
