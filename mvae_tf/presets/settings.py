"""Settings on each data set that the models of the MVAE and M-VAE papers share."""

from mvae_tf.config import Training
from mvae_tf.presets.preset import Setting

__all__ = ["CONV_64", "SETTINGS"]

CONV_64 = {
    "name": "conv",
    "decoder": [[256, 2], [256, 1], [256, 2], [256, 1], [128, 2]],
}


def _grey(source):
    """Return the settings for MLPs on grey 28 x 28 images in [0, 1]."""
    return Setting(
        data={"source": source},
        arguments={"latent_dim": 50, "network": "mlp", "likelihood": "bernoulli"},
        training=Training(epochs=100, batch_size=128, learning_rate=1e-3),
    )


def _colour_32(source):
    """Return the settings for convolutions on colour 32 x 32 images in [0, 1]."""
    return Setting(
        data={"source": source},
        arguments={"latent_dim": 256, "network": "conv", "likelihood": "sse"},
        training=Training(epochs=100, batch_size=64, learning_rate=1e-4),
    )


def _colour_64(source, epochs, **data):
    """Return the settings for convolutions on colour 64 x 64 images in [-1, 1]."""
    return Setting(
        data={"source": source, "value_range": [-1.0, 1.0]} | data,
        arguments={
            "latent_dim": 256,
            "network": CONV_64,
            "likelihood": {"name": "sse", "activation": "tanh", "low": -1.0},
        },
        training=Training(epochs=epochs, batch_size=64, learning_rate=1e-4),
    )


SETTINGS = {
    # The papers do not use these digits, which need no download and serve for a first
    # run. With the papers' weights of 1, one component would do the work of all on so
    # few images.
    "digits": Setting(
        data={"source": "digits"},
        arguments={
            "latent_dim": 4,
            "network": {"name": "mlp", "hidden": 200},
            "likelihood": "bernoulli",
            "kl_weight": 0.5,
        },
        training=Training(epochs=100, batch_size=128, learning_rate=2e-3),
        mixture={"dirichlet_weight": 5.0},
    ),
    "mnist": _grey("mnist"),
    "fashion_mnist": _grey("fashion_mnist"),
    "cifar10": _colour_32("cifar10"),
    "cifar100": _colour_32("cifar100"),
    # The text trains for 10 epochs at 1e-3, the scripts for 5 at 1e-4.
    "celeb_a": _colour_64("celeb_a", epochs=10, image_size=64),
    "imagenet64": _colour_64("imagenet64", epochs=5),
}
