"""VAEs of pythae and of plain PyTorch on the MNIST networks, for the benchmark only.

Needs `pip install pythae`, which brings PyTorch.
"""

import contextlib
import io
import tempfile
import time

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import (
    INFOVAE_MMD,
    VAE,
    VAMP,
    INFOVAE_MMD_Config,
    VAEConfig,
    VAMPConfig,
)
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn

__all__ = [
    "KINDS",
    "PSEUDO_INPUTS",
    "PlainTorch",
    "PythaeVAE",
    "likelihoods",
    "peak_rate",
]

PSEUDO_INPUTS = 50

KINDS = {
    "VAE": (VAE, VAEConfig, {}),
    "VampPrior": (VAMP, VAMPConfig, {"number_components": PSEUDO_INPUTS}),
    "InfoVAE": (INFOVAE_MMD, INFOVAE_MMD_Config, {"kernel_choice": "rbf"}),
}


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
        """Compute the mean and the log-variance of the latents."""
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
        """Reconstruct images from latents."""
        return ModelOutput(reconstruction=self.body(z))


def likelihoods(latent_dim, images, draws):
    """Make functions that estimate log p(x) of images, by the benchmark's names.

    Args:
        latent_dim: number Z of dimensions of a latent.
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
        latent_dim: number Z of dimensions of a latent.
        batch_size: number of images per step.
        steps: number of steps per block.
        kind: key of `KINDS`.
    """

    def __init__(self, latent_dim, batch_size, steps, kind="VAE"):
        images = np.random.default_rng(0).random((steps * batch_size, 784), np.float32)
        model, settings, extra = KINDS[kind]
        config = settings(
            input_dim=(784,), latent_dim=latent_dim, reconstruction_loss="bce", **extra
        )
        self.folder = tempfile.TemporaryDirectory()
        self.trainer = BaseTrainer(
            model=model(config, Encoder(latent_dim), Decoder(latent_dim)),
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


class PlainTorch:
    """A contender: the VAE in a loop of plain PyTorch with its Adam.

    Args:
        latent_dim: number Z of dimensions of a latent.
        batches: `[N, B, 784]` images.
        compiled: whether the loss goes through `torch.compile`.
    """

    def __init__(self, latent_dim, batches, compiled=False):
        self.batches = torch.tensor(batches)
        self.encoder, self.decoder = Encoder(latent_dim), Decoder(latent_dim)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, 1e-3)
        self.compute = torch.compile(self.loss) if compiled else self.loss

    def loss(self, x):
        """Compute the negative ELBO of a batch, a scalar in nats per image."""
        mean, log_variance = self.encoder.body(x).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = nn.functional.binary_cross_entropy(
            self.decoder.body(z), x, reduction="sum"
        )
        kl = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum()
        return (error + kl) / len(x)

    def run(self, steps):
        """Return seconds per step, and processor cores used, over a block of steps."""
        start, processor_start = time.perf_counter(), time.process_time()
        for i in range(steps):
            self.optimizer.zero_grad()
            self.compute(self.batches[i % len(self.batches)]).backward()
            self.optimizer.step()
        seconds = time.perf_counter() - start
        return seconds / steps, (time.process_time() - processor_start) / seconds


def peak_rate():
    """Measure the best rate of a float32 matrix product of PyTorch, in flop/s."""
    size, best = 2048, 0.0
    a = torch.randn(size, size)
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best
