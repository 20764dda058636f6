"""Encoders, sub-decoders and mix-decoders with the component axis inside.

A network is one of `MLP`, `GatedMLP`, `Conv`, `GatedConv`, `Pixel` and `DCGAN`, or is
made of your own Keras models (`FromKeras`). `for_images` fits it to the shape of the
images. It then makes three kinds of Keras layers, each from a `NetworkSpec`:

- `encoder(spec)`: x `[B, ...]` -> mean `[B, K, Z]`, stddev `[B, K, Z]` and, for
  mixtures, positive scores `[B, K]`;
- `sub_decoder(spec)`: z `[B, K, Z]` -> features `[K, B, ...]`;
- `mix_decoder(spec)`: features `[B, ...]` -> parameters of the likelihood `[B, H, W,
  C]` if all components share it, or `[K, B, ...]` -> `[K, B, H, W, C]` with K sets of
  weights; that of an `autoregressive` network also takes the image.

Fully connected networks make a fourth layer, `trunk(spec)`: x -> features `[B,
hidden]`, an encoder without heads, for models that add heads of their own.

Layers are called as `layer(inputs, labels=None, noise=None, training=False)`; labels
are one-hot rows. Dropout draws from the `noise` of the step, never from a random state.
"""

from mvae_tf.parts.networks.conv import Conv
from mvae_tf.parts.networks.dcgan import DCGAN
from mvae_tf.parts.networks.from_keras import FromKeras
from mvae_tf.parts.networks.gated import GatedMLP
from mvae_tf.parts.networks.gated_conv import GatedConv
from mvae_tf.parts.networks.mlp import MLP
from mvae_tf.parts.networks.network import Network, NetworkSpec, get, names, register
from mvae_tf.parts.networks.pixel import Pixel

__all__ = [
    "DCGAN",
    "MLP",
    "Conv",
    "FromKeras",
    "GatedConv",
    "GatedMLP",
    "Network",
    "NetworkSpec",
    "Pixel",
    "get",
    "names",
    "register",
]
