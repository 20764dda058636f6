"""Evaluation of a trained model: errors, evidence, likelihood and components.

Numbers are averages over images of a data set. `UNITS` documents every name.
"""

import keras
import numpy as np

from mvae_tf.audit import audit
from mvae_tf.parts import choice

__all__ = ["GROUPS", "UNITS", "evaluate"]

UNITS = {
    "sse": "squared error summed over an image's pixels, in the pixel scale of the "
    "likelihood; posterior means and expected weights, no mask",
    "sse_sampled": "as sse, with latents, weights and mask drawn, as in training",
    "sse_unmasked": "as sse_sampled, with the mask left out",
    "rmse_per_pixel": "square root of sse over the number of pixel values",
    "elbo": "evidence lower bound, nats an image, every KL in full",
    "elbo_reconstruction": "-E[log p(x given z)] of the bound, nats an image",
    "elbo_kl": "KL of all latents of the bound, nats an image",
    "log_likelihood": "importance-sampled log p(x), nats an image",
    "log_likelihood_images": "number of images behind log_likelihood",
    "log_likelihood_samples": "draws an image behind log_likelihood",
    "selected_components": "mean number of components that the mask keeps",
    "selected_components_expected": "its closed form, K P(m >= threshold)",
    "dropout_rate": "dropout rate p of the components",
    "component_usage": "expected mixing weight of each component",
    "audit": "inequalities that valid numbers fulfil, see mvae_tf.audit",
    "dhsic": "pairwise dHSIC (square root) of the components' drawn latents, K x K",
}


def _reconstruction(model, x, y, seed):
    def error(images):
        squared = np.square(np.asarray(images) - x).reshape(len(x), -1)
        return squared.sum(axis=1, dtype=np.float64)

    values = {
        "sse": error(model.reconstruct(x, y)),
        "sse_sampled": error(model.reconstruct(x, y, seed=seed)),
    }
    if getattr(model, "mask", None) is not None:
        drawn = model.reconstruct(x, y, seed=seed, masked=False)
        values["sse_unmasked"] = error(drawn)
    return values


def _elbo(model, x, y, seed):
    terms = model.elbo_terms(x, y, seed=seed)
    return {
        "elbo": -(terms["reconstruction"] + terms["kl"]),
        "elbo_reconstruction": terms["reconstruction"],
        "elbo_kl": terms["kl"],
    }


def _components(model, x, y, seed):
    if model.num_components == 1 or not hasattr(model, "selected_components"):
        return {}
    selected = model.selected_components(x, y=y)
    usage = np.mean(model.encode(x, y)["weights"], axis=0)
    values = {
        "selected_components": selected.mean,
        "selected_components_expected": selected.closed_form,
        "component_usage": usage.tolist(),
        "dhsic": model.dependence_matrix(x, y, seed=seed).numpy().tolist(),
    }
    if getattr(model, "mask", None) is not None:
        values["dropout_rate"] = model.dropout_rate()
    return values


_PER_IMAGE = {"reconstruction": _reconstruction, "elbo": _elbo}
GROUPS = (*_PER_IMAGE, "likelihood", "components", "audit")
_AUDITED = 100


def evaluate(
    model, dataset, metrics=None, num_samples=100, num_images=1000, seed=0, verbose=0
):
    """Metrics of a model on a data set.

    Args:
        model: a model of this library.
        dataset: `tf.data.Dataset` of batches `x` or `(x, y)`.
        metrics: names among `GROUPS`; None for all that the model has.
        num_samples: importance samples an image.
        num_images: number of leading images that the likelihood and the components
            are measured on; errors and the bound use every image, the audit 100.
        seed: int that decides all noise.
        verbose: 1 shows progress bars.

    Returns:
        dict from the names in `UNITS` to numbers or nested lists of numbers.

    Raises:
        ValueError: on an unknown name, on a data set without an image, or where the
            bound is asked for of a model that has none.
    """
    if metrics is None:
        left_out = {"elbo", "audit"} if model.no_bound else set()
        metrics = [name for name in GROUPS if name not in left_out]
    for name in metrics:
        choice(name, GROUPS, "group of metrics")
    chosen = [f for name, f in _PER_IMAGE.items() if name in metrics]

    per_image, leading, kept = {}, [], 0
    for x, y in _with_progress(dataset, "errors and bound", verbose):
        for function in chosen:
            for key, values in function(model, x, y, seed).items():
                per_image.setdefault(key, []).append(np.asarray(values))
        if kept < num_images:
            leading.append((x, y))
            kept += len(x)
    if not leading:
        raise ValueError("Expected a data set of at least one batch, got none.")

    results = {
        key: float(np.mean(np.concatenate(parts), dtype=np.float64))
        for key, parts in per_image.items()
    }
    if "sse" in results:
        pixels = np.prod(model.input_shape)
        results["rmse_per_pixel"] = float(np.sqrt(results["sse"] / pixels))
    if "components" in metrics:
        x, y = _join(leading, num_images)
        results |= _components(model, x, y, seed)
    if "likelihood" in metrics:
        values = [
            model.log_likelihood(x, num_samples, y=y, seed=seed)
            for x, y in _with_progress(leading, "likelihood", verbose)
        ]
        values = np.concatenate(values)[:num_images]
        results |= {
            "log_likelihood": float(np.mean(values, dtype=np.float64)),
            "log_likelihood_images": len(values),
            "log_likelihood_samples": num_samples,
        }
    if "audit" in metrics:
        x, y = _join(leading, min(_AUDITED, num_images))
        # One draw has no standard error.
        checks = audit(model, x, y, max(2, num_samples), seed)
        results["audit"] = {check.name: check.to_dict() for check in checks}
    return results


def _with_progress(batches, title, verbose):
    """NumPy batches `(x, y)`, counted on a progress bar."""
    size = len(batches) if hasattr(batches, "__len__") else None
    bar = keras.utils.Progbar(size, verbose=verbose, unit_name=title)
    for batch in batches:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        yield np.asarray(x), None if y is None else np.asarray(y)
        bar.add(1)


def _join(batches, num_images):
    x, y = zip(*batches, strict=True)
    labels = None if y[0] is None else np.concatenate(y)[:num_images]
    return np.concatenate(x)[:num_images], labels
