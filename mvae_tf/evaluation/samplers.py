"""Samplers: distributions that are fitted to the latents of a trained model.

The posteriors of real images seldom cover the whole prior. In a mixture such as MVAE,
moreover, the latents of the K components of one image depend on each other, while the
prior draws them independently. A sampler is fitted to the latents of training images,
and `generate(..., sampler=sampler)` draws from it in place of the prior. The model
stays the same, and bounds and likelihoods are still those of its own prior.

- `GaussianMixture` fits scikit-learn's mixture of Gaussians to draws from the
  posteriors of images, as Ghosh et al. do in "From Variational to Deterministic
  Autoencoders" (ICLR 2020), https://arxiv.org/abs/1903.12436;
- `VampPrior` draws from the posterior of a random training image. It is the prior of
  Tomczak and Welling (AISTATS 2018), https://arxiv.org/abs/1705.07120, with images in
  place of trained pseudo-inputs. Its samples are similar to those images.

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
from mvae_tf.models.hooks import Draw, check_model
from mvae_tf.noise import RowNoise, check_seed
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

FITTED_IMAGES = 10_000
# Up to this number of dimensions of all latents together, covariances are matrices.
_FULL_SIZE = 512


class Sampler(ABC):
    """A distribution of the latents of one trained model.

    Attributes:
        kind: str, name of the class in `KINDS`.
        names: tuple of str, names of the arrays that every sampler of the kind has.
        arrays: dict from names to the NumPy arrays that were fitted.
        model_digest: int, checksum of the weights of the model that it was fitted to.
    """

    kind: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

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
        """Fit a sampler to the latents of images.

        Args:
            model: trained model of this library.
            x: `[N, ...]` training images in the pixel scale of the likelihood.
            y: `[N]` labels of the images, for a conditional model.
            num_components: int, number of components of the distribution.
            seed: int that decides all random choices.

        Raises:
            ValueError: on arguments that do not fit the model or the images.
        """

    @abstractmethod
    def draw(self, model: Any, like: tf.Tensor, noise: Any) -> Draw:
        """Draw latents as `draw_prior` of the model does.

        Args:
            model: `keras.Model` that the sampler was fitted to.
            like: any tensor `[B, K]`.
            noise: noise of the rows, see `mvae_tf.noise`.

        Returns:
            `Draw` of `z` `[B, K, Z]` (or `[B, 1, Z]`) and `weights` `[B, K]`.
        """

    def save(self, path: str | Path) -> Path:
        """Write the sampler to an `.npz` file of plain arrays, whole or not at all.

        Args:
            path: path of the file.

        Returns:
            The path of the file.

        Raises:
            ValueError: the suffix of `path` is not `.npz`.
            mvae_tf.storage.StorageError: the file cannot be written.
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
        """Return whether the sampler was fitted to a model with the same weights."""
        return self.model_digest == _digest(model)


def check_sampler(sampler: Any, model: keras.Model) -> None:
    """Check that an object is a sampler that was fitted to a model.

    Raises:
        ValueError: it is no sampler, or the model has other weights.
    """
    if not isinstance(sampler, Sampler):
        raise ValueError(
            f"Expected a sampler, got {sampler!r}: "
            "mvae_tf.samplers.GaussianMixture.fit(model, x) makes one."
        )
    if not sampler.fits(model):
        raise ValueError(
            "Expected a sampler that was fitted to this model, got one of a model with "
            "other weights: fit it again."
        )


class GaussianMixture(Sampler):
    """A mixture of Gaussians over the latents of all components together.

    The Gaussians have full covariances if the latents of all components have at most
    512 dimensions together, and otherwise diagonal ones. Each has mixing weights of its
    own, the mean weights of its images. If the weights of a model select one component,
    as in CP-VAE and GMMpVAE, the mixture is one of the selected latents, and each
    Gaussian has its own probabilities of the components.
    """

    kind = "gaussian_mixture"
    names = ("probabilities", "means", "roots", "weights", "selects_one")

    @classmethod
    def fit(
        cls,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike | None = None,
        num_components: int = 10,
        seed: int = 0,
    ) -> Self:
        """Fit `num_components` Gaussians to one draw from the posterior of each image.

        Arguments are those of `Sampler.fit`. Of more than 10,000 images, as many are
        chosen at random.

        Raises:
            ValueError: there are fewer images than Gaussians, or latents are not
                finite.
        """
        from sklearn import mixture

        check_count("num_components", num_components)
        images, labels = _chosen(model, x, y, FITTED_IMAGES, seed)
        if num_components > len(images):
            raise ValueError(
                f"Expected num_components in 1..{len(images)}, the number of images, "
                f"got {num_components}."
            )
        z, weights = map(np.asarray, model.sample_posterior(images, labels, seed))
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
    names = ("images", "selects_one")

    @classmethod
    def fit(
        cls,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike | None = None,
        num_components: int = 500,
        seed: int = 0,
    ) -> Self:
        """Choose `num_components` images at random, or all if there are fewer.

        Arguments are those of `Sampler.fit`.

        Raises:
            ValueError: `num_components` is less than 1.
        """
        check_count("num_components", num_components)
        images, labels = _chosen(model, x, y, num_components, seed)
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
    """Read a sampler that `save` wrote.

    Args:
        path: path of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or contains no sampler.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a sampler at {path}, got none.")
    storage.verify_archive(path)
    try:
        with np.load(path) as file:
            arrays = dict(file)
        record = json.loads(str(arrays.pop("record")))
        kind, digest = record["kind"], record["model_digest"]
        sampler = KINDS[choice(kind, KINDS, "kind of sampler")](arrays, digest)
        for name in sampler.names:
            if not np.isfinite(arrays[name]).all():
                raise ValueError(f"its {name} are not finite")
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise storage.DamagedFile(f"{path} is no sampler: {error}") from error
    return sampler


def _chosen(
    model: keras.Model, x: ArrayLike, y: ArrayLike | None, num: int, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Choose `num` images and their labels at random; keep all if there are fewer."""
    check_model(model)
    images = model.input_checks.images(x)
    if not len(images):
        raise ValueError("Expected at least one image, got none.")
    model.input_checks.one_hot(y, len(images))
    labels = None
    if model.conditional:
        # One label may stand for all.
        labels = np.asarray(y)
        labels = labels if labels.ndim else np.full(len(images), labels)
    if len(images) > num:
        order = np.random.default_rng(check_seed(seed)).permutation(len(images))
        images = images[order[:num]]
        labels = None if labels is None else labels[order[:num]]
    return images, labels


def _selects_one(model):
    """Return whether the weights of a model select one component, not mix them."""
    if model.num_components == 1:
        return False
    noise = RowNoise(tf.constant([[i, 0] for i in range(8)]))
    weights = model.draw_prior(tf.zeros([8, model.num_components]), noise).weights
    return bool(np.all(np.sort(weights, axis=1)[:, -2] == 0.0))


def _one_hot_draws(weights, seed):
    """Draw one-hot rows with the probabilities of the rows of `weights [N, K]`."""
    uniform = np.random.default_rng(check_seed(seed)).uniform(size=(len(weights), 1))
    passed = np.cumsum(weights, axis=1) <= uniform
    index = np.minimum(passed.sum(axis=1), weights.shape[1] - 1)
    return np.eye(weights.shape[1])[index]


def _select_one(weights, noise):
    """Draw one-hot rows as `_one_hot_draws` does, in a graph."""

    def sample(seed, weights):
        return tf.random.stateless_uniform(tf.shape(weights)[:-1], seed)

    uniform = noise.sample("sampler_component", sample, weights)[..., tf.newaxis]
    passed = tf.cast(tf.cumsum(weights, axis=-1) <= uniform, tf.int32)
    index = tf.minimum(tf.reduce_sum(passed, axis=-1), weights.shape[-1] - 1)
    return tf.one_hot(index, weights.shape[-1])


def _digest(model):
    """Compute a checksum of the trained weights of a model, which files keep."""
    digest = 0
    for variable in model.trainable_variables:
        digest = zlib.crc32(np.ascontiguousarray(variable.numpy()), digest)
    return digest
