"""Samplers: distributions of latents, fitted to a trained model, to generate from.

The posteriors of real images seldom fill the prior that they were trained against, and
in a mixture such as MVAE the latents of the K components of one image belong together,
while the prior draws them independently. A sampler learns where the latents of
training images lie; `generate(..., sampler=sampler)` draws from it instead of the
prior. It changes nothing else of the model, and no bound or likelihood is about it.

- `GaussianMixture` fits scikit-learn's mixture of Gaussians to draws from the
  posteriors of images, as Ghosh et al., "From Variational to Deterministic
  Autoencoders" (ICLR 2020), https://arxiv.org/abs/1903.12436, do;
- `VampPrior` draws from the posterior of a random training image, the prior of Tomczak
  and Welling (AISTATS 2018), https://arxiv.org/abs/1705.07120, with images in place of
  trained pseudo-inputs. Its samples stay near those images.

Example:
    >>> sampler = mvae_tf.samplers.GaussianMixture.fit(model, x_train)
    >>> images = model.generate(16, seed=0, sampler=sampler)
    >>> sampler.save("sampler.npz")
    >>> sampler = mvae_tf.samplers.load("sampler.npz")
"""

import json
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from mvae_tf import storage
from mvae_tf.models.hooks import Draw
from mvae_tf.noise import RowNoise, check_seed, content_seeds
from mvae_tf.parts import gaussian
from mvae_tf.parts.part import check_count, choice
from mvae_tf.parts.priors import draw_index

__all__ = [
    "FITTED_IMAGES",
    "KINDS",
    "GaussianMixture",
    "Sampler",
    "VampPrior",
    "check_sampler",
    "load",
]

_ROWS = 256
FITTED_IMAGES = 10_000
# Up to this size of all latents together, covariances are full matrices.
_FULL_SIZE = 512


class Sampler(ABC):
    """A distribution of the latents of one trained model.

    Attributes:
        kind: Name of the class in `KINDS`.
        arrays: What was fitted, a dict from names to NumPy arrays.
        model_digest: Checksum of the weights of the model that it was fitted to.
    """

    kind: ClassVar[str]

    def __init__(self, arrays: Mapping[str, ArrayLike], model_digest: int):
        self.arrays = {name: np.asarray(value) for name, value in arrays.items()}
        self.model_digest = model_digest

    @classmethod
    @abstractmethod
    def fit(
        cls,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike | None = None,
        num_components: int = 10,
        seed: int = 0,
    ) -> "Sampler":
        """Fits a sampler to the latents of images; see the classes."""

    @abstractmethod
    def draw(self, model: Any, like: tf.Tensor, noise: Any) -> Draw:
        """Draws latents as the `draw_prior` of a model does.

        Args:
            model: The model that the sampler was fitted to.
            like: Any tensor `[B, K]`.
            noise: See `mvae_tf.noise`.

        Returns:
            Dict with `z` `[B, K, Z]` (or `[B, 1, Z]`) and `weights` `[B, K]`.
        """

    def save(self, path: str | Path) -> Path:
        """Writes the sampler to an `.npz` file of plain arrays, whole or not at all.

        Returns:
            The path of the file.

        Raises:
            ValueError: The suffix of `path` is not `.npz`.
            mvae_tf.storage.StorageError: The file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ValueError(f"Expected a file FILE.npz for a sampler, got {path}.")
        record = json.dumps({"kind": self.kind, "model_digest": self.model_digest})
        with storage.write(path) as temporary:
            arrays: dict[str, Any] = {"record": np.array(record)} | self.arrays
            np.savez(temporary, **arrays)
        return path

    def fits(self, model: keras.Model) -> bool:
        """Whether a model has the weights that the sampler was fitted to."""
        return self.model_digest == _digest(model)

    def check(self, model: keras.Model) -> None:
        """Checks that a model is the one that the sampler was fitted to.

        Raises:
            ValueError: The model has other weights.
        """
        if not self.fits(model):
            raise ValueError(
                "Expected a sampler that was fitted to this model, got one of a model "
                "with other weights: fit it again."
            )


def check_sampler(sampler: Any, model: keras.Model) -> None:
    """Checks that something is a sampler that was fitted to a model.

    Raises:
        ValueError: It is another thing, or the model has other weights.
    """
    if not isinstance(sampler, Sampler):
        raise ValueError(
            f"Expected a sampler, got {sampler!r}: "
            "mvae_tf.samplers.GaussianMixture.fit(model, x) makes one."
        )
    sampler.check(model)


class GaussianMixture(Sampler):
    """A mixture of Gaussians over the latents of all components together.

    The Gaussians have full covariances where the latents of all components have 512
    dimensions or fewer together, and diagonal ones beyond. Each has mixing weights
    of its own: the mean weights of its images. In models whose weights select one
    component, such as CP-VAE and GMMpVAE, the Gaussians are those of the selected
    latent, and each has probabilities of the components.
    """

    kind = "gaussian_mixture"

    @classmethod
    def fit(
        cls,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike | None = None,
        num_components: int = 10,
        seed: int = 0,
    ) -> Self:
        """Fits the mixture to one draw from the posterior of each image.

        Args:
            model: Trained model of this library.
            x: `[N, ...]` training images in the pixel scale of the likelihood; of more
                than 10,000, a random choice is used.
            y: Labels `[N]` of the images, for a conditional model.
            num_components: Number of Gaussians.
            seed: Integer that decides the draws and the start of the fit.

        Raises:
            ValueError: There are fewer images than Gaussians, or latents are not
                finite.
        """
        from sklearn import mixture

        images, labels = _chosen(x, y, FITTED_IMAGES, seed)
        if not 1 <= num_components <= len(images):
            raise ValueError(
                f"Expected num_components in 1..{len(images)}, the number of images, "
                f"got {num_components}."
            )
        z, weights = _posterior_draws(model, images, labels, seed)
        selects_one = _selects_one(model)
        if selects_one:
            weights = _one_hot_draws(weights, seed)
            index = weights.argmax(axis=1) if z.shape[1] > 1 else np.zeros(len(z), int)
            z = z[np.arange(len(z)), index]
        z = z.reshape(len(z), -1).astype(np.float64)
        if not np.isfinite(z).all():
            raise ValueError(
                "Expected finite latents to fit a sampler to, got NaN or inf: the "
                "model has diverged."
            )
        covariance = "full" if z.shape[1] <= _FULL_SIZE else "diag"
        fitted = mixture.GaussianMixture(
            num_components, covariance_type=covariance, random_state=check_seed(seed)
        ).fit(z)
        shares = fitted.predict_proba(z)
        mean_weights = shares.T @ weights / shares.sum(axis=0)[:, np.newaxis]
        roots = fitted.covariances_
        roots = np.linalg.cholesky(roots) if covariance == "full" else np.sqrt(roots)
        arrays = {
            "probabilities": fitted.weights_,
            "means": fitted.means_,
            "roots": roots,
            "weights": mean_weights,
        }
        arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
        return cls(arrays | {"selects_one": selects_one}, _digest(model))

    def draw(self, model, like, noise):
        rows = like[:, 0]
        probabilities, means, roots, weights = (
            tf.constant(self.arrays[name])
            for name in ("probabilities", "means", "roots", "weights")
        )
        index = draw_index("sampler", probabilities, rows, noise)
        normal = gaussian.draw_standard(rows, means.shape[-1], noise)
        if roots.shape.rank == 3:
            offsets = tf.einsum("nij,bj->bni", roots, normal)
            offsets = tf.gather(offsets, index, axis=1, batch_dims=1)
        else:
            offsets = tf.gather(roots, index) * normal
        z = tf.gather(means, index) + offsets
        weights = tf.gather(weights, index)
        if self.arrays["selects_one"]:
            weights = _select_one(weights, noise)
            z = tf.repeat(z[:, tf.newaxis], model.num_components, axis=1)
        else:
            z = tf.reshape(z, [tf.shape(z)[0], model.num_components, -1])
        return Draw(z, weights)


class VampPrior(Sampler):
    """The average of the posteriors of some training images."""

    kind = "vamp_prior"

    @classmethod
    def fit(
        cls,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike | None = None,
        num_components: int = 500,
        seed: int = 0,
    ) -> Self:
        """Chooses the images at random; nothing is trained.

        Args:
            model: Trained model of this library.
            x: `[N, ...]` training images in the pixel scale of the likelihood.
            y: Labels `[N]` of the images, for a conditional model.
            num_components: Number of images to keep; all of them if N is less.
            seed: Integer that decides the choice.

        Raises:
            ValueError: `num_components` is less than 1.
        """
        check_count("num_components", num_components)
        images, labels = _chosen(x, y, num_components, seed)
        model.input_checks.check(images, labels)
        arrays: dict[str, Any] = {"selects_one": _selects_one(model)}
        arrays["images"] = images.astype(np.float32)
        if model.conditional:
            arrays["labels"] = labels
        return cls(arrays, _digest(model))

    def draw(self, model, like, noise):
        images, labels = self.arrays["images"], self.arrays.get("labels")
        equal = tf.fill([len(images)], 1.0 / len(images))
        index = draw_index("sampler", equal, like[:, 0], noise)
        x = tf.gather(tf.constant(images), index)
        y = None if labels is None else tf.gather(tf.constant(labels), index)
        latents = model.draw(model.infer(*model.unpack((x, y))), noise)
        weights = latents.weights
        if self.arrays["selects_one"]:
            weights = _select_one(weights, noise)
        return Draw(latents.z, weights)


KINDS: dict[str, type[Sampler]] = {
    sampler.kind: sampler for sampler in (GaussianMixture, VampPrior)
}


def load(path: str | Path) -> Sampler:
    """Reads a sampler that `save` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or holds no sampler.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a sampler at {path}, found none")
    storage.verify(path)
    try:
        with np.load(path) as file:
            arrays = dict(file)
        record = json.loads(str(arrays.pop("record")))
        kind, digest = record["kind"], record["model_digest"]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise storage.DamagedFile(f"{path} is no sampler: {error}") from error
    return KINDS[choice(kind, KINDS, "kind of sampler")](arrays, digest)


def _chosen(
    x: ArrayLike, y: ArrayLike | None, num: int, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Random choice of `num` images and their labels; all, in order, of fewer."""
    images = np.asarray(x)
    labels = None if y is None else np.asarray(y)
    if len(images) > num:
        order = np.random.default_rng(check_seed(seed)).permutation(len(images))
        images = images[order[:num]]
        labels = None if labels is None else labels[order[:num]]
    return images, labels


def _posterior_draws(model, x, y, seed):
    """One draw from q(latents | x) of each image: z `[N, K, Z]`, weights `[N, K]`."""
    model.input_checks.check(x, y)

    def draw(x, y):
        noise = RowNoise(content_seeds(x, seed))
        latents = model.draw(model.infer(*model.unpack((x, y))), noise)
        return tf.cast(latents.z, tf.float32), latents.weights

    compiled = tf.function(draw, autograph=False, reduce_retracing=True)
    parts = [
        compiled(
            tf.constant(x[i : i + _ROWS], tf.float32),
            None if y is None else tf.constant(y[i : i + _ROWS]),
        )
        for i in range(0, len(x), _ROWS)
    ]
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def _selects_one(model):
    """Whether the weights of a model select one component rather than mix all."""
    if model.num_components == 1:
        return False
    noise = RowNoise(tf.constant([[i, 0] for i in range(8)]))
    weights = model.draw_prior(tf.zeros([8, model.num_components]), noise).weights
    return bool(np.all(np.sort(weights, axis=1)[:, -2] == 0.0))


def _one_hot_draws(weights, seed):
    """One-hot rows, drawn with the probabilities of the rows of `weights [N, K]`."""
    uniform = np.random.default_rng(check_seed(seed)).uniform(size=(len(weights), 1))
    passed = np.cumsum(weights, axis=1) <= uniform
    index = np.minimum(passed.sum(axis=1), weights.shape[1] - 1)
    return np.eye(weights.shape[1])[index]


def _select_one(weights, noise):
    """As `_one_hot_draws`, in a graph."""

    def sample(seed, weights):
        return tf.random.stateless_uniform(tf.shape(weights)[:-1], seed)

    uniform = noise.sample("sampler_component", sample, weights)[..., tf.newaxis]
    passed = tf.cast(tf.cumsum(weights, axis=-1) <= uniform, tf.int32)
    index = tf.minimum(tf.reduce_sum(passed, axis=-1), weights.shape[-1] - 1)
    return tf.one_hot(index, weights.shape[-1])


def _digest(model):
    """Checksum of the trained weights of a model, the same after a reload."""
    digest = 0
    for variable in model.trainable_variables:
        digest = zlib.crc32(np.ascontiguousarray(variable.numpy()), digest)
    return digest
