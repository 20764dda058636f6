"""Models, each a `keras.Model`: one paper or one baseline a file."""

from mvae_tf.models.base import BaseVAE, LossTerms
from mvae_tf.models.m_vae import MixtureOfVAEs
from mvae_tf.models.mvae import MVAE
from mvae_tf.models.registry import create, names, register
from mvae_tf.models.vae import VAE

__all__ = [
    "MVAE",
    "VAE",
    "BaseVAE",
    "LossTerms",
    "MixtureOfVAEs",
    "create",
    "names",
    "register",
]
