"""Comparison of a model's objective and gradients with an oracle in float64 NumPy.

Each `test_oracle_*.py` holds the objectives of one paper, written out in NumPy from the
paper or from what its authors' program computes, without anything of the library. An
oracle is a function

    objective(w, draws, x, y) -> (loss, terms)

of the weights (dict from the name of a layer to its arrays, kernel before bias), the
random numbers by name, the images `[B, P]` and one-hot labels or None. `compare` draws
weights and random numbers afresh from a seed, gives both to the oracle and to the
model, and demands equal terms, an equal loss and an equal gradient of every variable.

The oracle's gradients are complex steps: the imaginary part of loss(w + ih) / h, which
is exact to rounding for a function made of analytic operations. Such a function decides
its branches (a clip, the nearest prototype) by real parts, and stops a gradient by
dropping an imaginary part. The functions below do.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

import mvae_tf
from mvae_tf.noise import Noise

BATCH, PIXELS, HIDDEN = 7, 6, 5
TOLERANCE = 1e-5
_STEP = 1e-30

MLP = {"name": "mlp", "hidden": HIDDEN}
GATED = {"name": "gated_mlp", "hidden": HIDDEN}


class Draws(Noise):
    """Random numbers drawn in NumPy, in place of those of the library.

    Attributes:
        values: float64 arrays by name, those that the model was given.
    """

    def __init__(self, seed):
        super().__init__()
        self.values = {}
        self.generator = np.random.default_rng(seed)

    def _draw(self, name, shape, distribution):
        name = self._prefix + name
        assert name not in self.values, f"{name} is drawn twice"
        drawn = distribution(size=shape).astype("float32")
        self.values[name] = drawn.astype("float64")
        return tf.constant(drawn)

    def normal(self, name, mean, stddev):
        return mean + stddev * self._draw(name, mean.shape, self.generator.normal)

    def standard_normal(self, name, like, event=()):
        return self._draw(name, (*like.shape, *event), self.generator.normal)

    def logistic(self, name, like):
        return self._draw(name, like.shape, self.generator.logistic)

    def gumbel(self, name, like):
        return self._draw(name, like.shape, self.generator.gumbel)

    def uniform(self, name, like, least=0.0):
        del least
        return self._draw(name, like.shape, self.generator.uniform)

    def sample(self, name, sampler, *parameters):
        """Draw log gamma variables that no gradient flows through."""
        del sampler

        def log_gamma(size):
            return np.log(self.generator.gamma(0.5, size=size))

        return self._draw(name, parameters[0].shape, log_gamma)


class Difference(NamedTuple):
    """The greatest differences of a comparison.

    Attributes:
        terms: of the loss and of each term, relative to the term or, where it is
            smaller, to 1.
        gradient: of the gradients of the variables, the norm of the difference relative
            to that of the gradient.
    """

    terms: float
    gradient: float


def create(name, scale=0.5, seed=0, latent_dim=2, **arguments):
    """Create a tiny model whose weights are drawn afresh."""
    arguments = {"latent_dim": latent_dim} | arguments
    model = mvae_tf.create(name, input_shape=(PIXELS,), **arguments)
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name != "prior":
            for variable in layer.trainable_variables:
                variable.assign(generator.normal(0.0, scale, variable.shape))
    return model


def images(seed=0):
    """Draw grey images `[B, P]`."""
    generator = np.random.default_rng(seed + 1)
    return generator.uniform(size=(BATCH, PIXELS)).astype("float32")


def weights_of(model):
    """Return the trained and the fixed variables of each layer, by its name.

    The trained variables of the model itself have the name "model".
    """
    trained = {layer.name: list(layer.trainable_variables) for layer in model.layers}
    assert len(trained) == len(model.layers), "two layers of one name"
    fixed = {layer.name: list(layer.variables) for layer in model.layers}
    fixed = {name: fixed[name] for name in fixed if not trained[name]}
    of_layers = {id(v) for variables in trained.values() for v in variables}
    own = [v for v in model.trainable_variables if id(v) not in of_layers]
    return trained | {"model": own}, fixed


def compare(model, objective, y=None, seed=0):
    """Compare a model's objective and its gradients with those of an oracle.

    Returns:
        `Difference`.
    """
    x = images(seed)
    trained, fixed = weights_of(model)
    draws = Draws(seed)
    batch_x, batch_y = model.unpack((x, y))
    with tf.GradientTape() as tape:
        values = model.loss_terms(batch_x, batch_y, draws, training=True)
        weighted = model.objective(values, model.term_weights, batch_x)
        loss = tf.reduce_mean(weighted)
    gradients = tape.gradient(loss, trained)
    w = {
        name: [np.asarray(variable, "float64") for variable in variables]
        for name, variables in (trained | fixed).items()
    }
    labels = None if batch_y is None else batch_y.numpy().astype("float64")

    def evaluate(weights):
        return objective(weights, draws.values, x.astype("float64"), labels)

    expected_loss, terms = evaluate(w)
    differences = [abs(loss.numpy() / expected_loss - 1.0)]
    for name, term in terms.items():
        found, expected = (np.mean(np.asarray(v)) for v in (values[name], term))
        # A term may be a small difference of kernels or entropies of about 1.
        differences.append(abs(found - expected) / max(1.0, abs(expected)))
    slopes = {}
    for name, variables in trained.items():
        for index in range(len(variables)):
            expected = complex_step(evaluate, w, name, index)
            assert np.any(expected != 0), f"no gradient of {name} {index}"
            error = np.asarray(gradients[name][index], "float64") - expected
            slopes[name, index] = np.linalg.norm(error) / np.linalg.norm(expected)
    worst = max(slopes, key=slopes.get)
    found = Difference(max(differences), slopes[worst])
    print(f"\n{model.name}: terms {found.terms:.1e}, gradient {found.gradient:.1e}")
    assert found.terms < TOLERANCE
    assert found.gradient < TOLERANCE, worst
    return found


def complex_step(evaluate, w, name, index):
    """Compute the gradient of the loss in one variable."""
    array = w[name][index]
    gradient = np.zeros(array.shape)
    for position in np.ndindex(array.shape):
        moved = array.astype("complex128")
        moved[position] += 1j * _STEP
        changed = list(w[name])
        changed[index] = moved
        loss, _ = evaluate(w | {name: changed})
        gradient[position] = np.imag(loss) / _STEP
    return gradient


# === Analytic functions ===


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softplus(x):
    return np.log(1.0 + np.exp(x))


def elu(x):
    return np.where(np.real(x) > 0, x, np.exp(x) - 1.0)


def clip(x, low, high):
    bounded = np.where(np.real(x) < low, low, x)
    return np.where(np.real(bounded) > high, high, bounded)


def log_sum_exp(x, axis=-1):
    greatest = np.max(np.real(x), axis=axis, keepdims=True)
    total = np.log(np.sum(np.exp(x - greatest), axis=axis, keepdims=True))
    return np.squeeze(total + greatest, axis=axis)


def log_softmax(x):
    return x - log_sum_exp(x)[..., np.newaxis]


def straight_through(soft):
    """One-hot rows of the greatest entries, with the derivative of the entries."""
    hard = np.eye(soft.shape[-1])[np.argmax(np.real(soft), axis=-1)]
    return hard + 1j * np.imag(soft)


# === Layers ===


def linear(x, kernel, bias):
    return x @ kernel + bias


def gated(x, kernel, bias):
    """A gated layer: the first half of the outputs times the sigmoid of the second."""
    value, gate = np.split(linear(x, kernel, bias), 2, axis=-1)
    return value * sigmoid(gate)


def component(arrays, k=0):
    """Kernels and biases of one component, as pairs."""
    pairs = zip(arrays[::2], arrays[1::2], strict=True)
    return [(kernel[k], bias[k]) for kernel, bias in pairs]


def gated_network(x, arrays, k=0, last_is_linear=False):
    """Gated layers in a row."""
    layers = component(arrays, k)
    for layer in layers[:-1] if last_is_linear else layers:
        x = gated(x, *layer)
    return linear(x, *layers[-1]) if last_is_linear else x


def clipped_moments(outputs):
    """Mean and standard deviation from the mean and the clipped log-variance."""
    mean, log_variance = np.split(outputs, 2, axis=-1)
    return mean, np.exp(0.5 * clip(log_variance, -6.0, 2.0))


def gated_encoder(x, w, k=0):
    """Moments of q(z | x) of the gated networks of the VampPrior code."""
    return clipped_moments(gated_network(x, w["encoder"], k, last_is_linear=True))


def gated_decoder(z, w):
    """Logits of the pixels by the same networks."""
    features = gated_network(z, w["sub_decoder"])
    return gated_network(features, w["mix_decoder"], last_is_linear=True)


def mlp_encoder(x, arrays, k=0):
    """Outputs of the head of the MVAE networks: ELU, tanh, linear."""
    first, second, head = component(arrays, k)
    return linear(np.tanh(linear(elu(linear(x, *first)), *second)), *head)


def softplus_moments(outputs):
    """Mean and standard deviation of the MVAE networks, and what is left over."""
    size = outputs.shape[-1] // 2
    mean, stddev, rest = np.split(outputs, [size, 2 * size], axis=-1)
    return mean, 1e-6 + softplus(stddev), rest


def mlp_decoder(z, w, k=0):
    """Outputs of a sub-decoder and a mix-decoder of the MVAE networks."""
    ((kernel, bias),) = component(w["sub_decoder"], k)
    first, last = component(w["mix_decoder"], k)
    return linear(elu(linear(np.tanh(linear(z, kernel, bias)), *first)), *last)


# === Densities and divergences, in nats ===


def cross_entropy(x, logits):
    """-log p(x | z) of Bernoulli pixels, `[B]`."""
    return np.sum(softplus(logits) - x * logits, axis=-1)


def log_normal(z, mean=0.0, stddev=1.0):
    """Log N(z; mean, stddev^2), summed over the last axis."""
    standard = (z - mean) / stddev
    log_scale = np.log(stddev) + 0.5 * np.log(2.0 * np.pi)
    return np.sum(-0.5 * standard * standard - log_scale, axis=-1)


def normal_kl(mean, stddev, prior_mean=0.0, prior_stddev=1.0):
    """KL between diagonal Gaussians, summed over the last axis."""
    ratio = (stddev / prior_stddev) ** 2
    squares = ((mean - prior_mean) / prior_stddev) ** 2
    return 0.5 * np.sum(ratio + squares - 1.0 - np.log(ratio), axis=-1)


def kernel_mmd(a, b, unbiased=False):
    """Squared MMD of `[n, D]` and `[n, D]`, kernel exp(-||a - b||^2 / (2 D))."""
    size, dimension = a.shape

    def mean_kernel(first, second, leave_out):
        total = 0.0
        for i in range(size):
            for j in range(size):
                if not (leave_out and i == j):
                    square = np.sum((first[i] - second[j]) ** 2)
                    total = total + np.exp(-square / (2.0 * dimension))
        return total / (size * (size - 1) if leave_out else size**2)

    within = mean_kernel(a, a, unbiased) + mean_kernel(b, b, unbiased)
    return within - 2.0 * mean_kernel(a, b, False)


def vamp_log_prob(z, posterior, pseudo_inputs):
    """Log of the average of q(z | u_k) over pseudo-inputs clipped to [0, 1].

    Args:
        z: `[B, Z]`.
        posterior: function from images `[K, P]` to the moments of q, `[K, Z]` each.
        pseudo_inputs: `[K, P]`.
    """
    mean, stddev = posterior(clip(pseudo_inputs, 0.0, 1.0))
    logs = log_normal(z[:, np.newaxis], mean, stddev)
    return log_sum_exp(logs) - np.log(len(mean))
