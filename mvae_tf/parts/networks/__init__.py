"""Encoders, sub-decoders and mix-decoders with the component axis inside.

A network is a part (`MLP`, `GatedMLP`, `Conv`, `GatedConv`, `Pixel`, `DCGAN`), or made
of your own Keras models (`FromKeras`). Once told the shape of the images by
`for_images`, it makes three kinds of Keras layer from a `NetworkSpec`:

- `encoder(spec)`: x `[B, ...]` -> mean `[B, K, Z]`, stddev `[B, K, Z]` and, for
  mixtures, positive scores `[B, K]`;
- `sub_decoder(spec)`: z `[B, K, Z]` -> features `[K, B, ...]`, one set per component;
- `mix_decoder(spec)`: features `[B, ...]` -> likelihood features `[B, H, W, C]`, shared
  by the components, or `[K, B, ...]` -> `[K, B, H, W, C]` with K sets of weights; that
  of an `autoregressive` network takes the image, too.

The fully connected ones have a fourth, `trunk(spec)`: x -> features `[B, hidden]`, the
encoder without its heads, for models that put heads of their own on it.

Layers are called as `layer(inputs, labels=None, noise=None, training=False)`; labels
are one-hot rows. Dropout draws from the `noise` of the step, never from a state.
"""

from mvae_tf.parts.networks.base import Network, NetworkSpec, get, names, register
from mvae_tf.parts.networks.conv import Conv
from mvae_tf.parts.networks.dcgan import DCGAN
from mvae_tf.parts.networks.from_keras import FromKeras
from mvae_tf.parts.networks.gated import GatedMLP
from mvae_tf.parts.networks.gated_conv import GatedConv
from mvae_tf.parts.networks.mlp import MLP
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
