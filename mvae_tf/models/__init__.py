"""Models, each a `keras.Model`: one paper or one baseline a file.

A new model is one file in this folder with a registered class. Every module of the
folder is imported; the imports below show the classes to editors and type checkers.
"""

import importlib
import pkgutil

from mvae_tf.models.base import BaseVAE
from mvae_tf.models.beta_vae import BetaVAE
from mvae_tf.models.cb_vae import CBVAE
from mvae_tf.models.cgm import CGM
from mvae_tf.models.cp_vae import CPVAE, INDpVAE, INDqpVAE, INDqVAE
from mvae_tf.models.gmmp_vae import GMMpVAE
from mvae_tf.models.hvae import HVAE, HVampVAE
from mvae_tf.models.info_vae import InfoVAE
from mvae_tf.models.m_vae import MixtureOfVAEs
from mvae_tf.models.mae import MAE
from mvae_tf.models.mog_vae import MoGVAE
from mvae_tf.models.msvi import MSVI
from mvae_tf.models.mvae import MVAE
from mvae_tf.models.registry import create, names, register
from mvae_tf.models.vae import VAE
from mvae_tf.models.vamp_vae import VampVAE
from mvae_tf.models.wwae import WWAE
from mvae_tf.parts.terms import Term

__all__ = [
    "CBVAE",
    "CGM",
    "CPVAE",
    "HVAE",
    "MAE",
    "MSVI",
    "MVAE",
    "VAE",
    "WWAE",
    "BaseVAE",
    "BetaVAE",
    "GMMpVAE",
    "HVampVAE",
    "INDpVAE",
    "INDqVAE",
    "INDqpVAE",
    "InfoVAE",
    "MixtureOfVAEs",
    "MoGVAE",
    "Term",
    "VampVAE",
    "create",
    "names",
    "register",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
