"""pythae's VAE on the MNIST networks, through its own trainer, for the benchmark alone.

Needs `pip install pythae`, which brings PyTorch.
"""

import contextlib
import io
import tempfile
import time

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAMP, VAEConfig, VAMPConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

__all__ = ["PythaeVAE", "likelihoods"]


class Encoder(BaseEncoder):
    """Two hidden layers of 500 units."""

    def __init__(self, latent_dim):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(784, 500),
            nn.ELU(),
            nn.Linear(500, 500),
            nn.Tanh(),
            nn.Linear(500, 2 * latent_dim),
        )

    def forward(self, x):
        """Mean and log-variance of the latents."""
        mean, log_variance = self.body(x).chunk(2, dim=-1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Two hidden layers of 500 units."""

    def __init__(self, latent_dim):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(latent_dim, 500),
            nn.Tanh(),
            nn.Linear(500, 500),
            nn.ELU(),
            nn.Linear(500, 784),
            nn.Sigmoid(),
        )

    def forward(self, z):
        """Reconstruction."""
        return ModelOutput(reconstruction=self.body(z))


def likelihoods(latent_dim, images, draws):
    """Functions that estimate log p(x) of images, by the names of the benchmark.

    Args:
        latent_dim: Z.
        images: array `[B, 784]`.
        draws: number of draws for each image.
    """
    images = torch.tensor(images)
    options = {
        "input_dim": (784,),
        "latent_dim": latent_dim,
        "reconstruction_loss": "bce",
    }
    networks = Encoder(latent_dim), Decoder(latent_dim)
    vae = VAE(VAEConfig(**options), *networks)
    vamp = VAMP(VAMPConfig(number_components=500, **options), *networks)

    def estimate(model, at_once):
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            model.get_nll(images, draws, at_once)

    return {
        "pythae get_nll, 100 at once": lambda: estimate(vae, 100),
        "pythae get_nll, all at once": lambda: estimate(vae, draws),
        "pythae VampPrior get_nll": lambda: estimate(vamp, 100),
    }


class PythaeVAE:
    """A contender of `benchmark.py`: each block is an epoch of pythae's trainer.

    Args:
        latent_dim: Z.
        batch_size: of a step.
        steps: of a block.
    """

    def __init__(self, latent_dim, batch_size, steps):
        images = np.random.default_rng(0).random((steps * batch_size, 784), np.float32)
        config = VAEConfig(
            input_dim=(784,), latent_dim=latent_dim, reconstruction_loss="bce"
        )
        self.folder = tempfile.TemporaryDirectory()
        self.trainer = BaseTrainer(
            model=VAE(config, Encoder(latent_dim), Decoder(latent_dim)),
            train_dataset=BaseDataset(torch.tensor(images), torch.zeros(len(images))),
            training_config=BaseTrainerConfig(
                output_dir=self.folder.name,
                per_device_train_batch_size=batch_size,
                no_cuda=True,
            ),
        )
        self.trainer.prepare_training()
        self.epoch = 0

    def run(self, steps):
        """Return seconds per step, and processor cores used, over one epoch."""
        self.epoch += 1
        start, processor_start = time.perf_counter(), time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):
            self.trainer.train_step(self.epoch)
        seconds = time.perf_counter() - start
        return seconds / steps, (time.process_time() - processor_start) / seconds
