"""What the numbers of `evaluate` mean: their units, and whether more is better."""

import re

__all__ = ["UNITS", "meaning"]

_ERRORS = {
    "sse": "squared error summed over an image's pixels, in the pixel scale of the "
    "likelihood; posterior means and expected weights, no mask; lower is better",
    "sse_sampled": "like sse, but with drawn latents, weights and mask, as in training",
    "sse_unmasked": "like sse_sampled, but without the mask",
    "rmse": "square root of sse_sampled, the RMSE of the MVAE and M-VAE tables: not "
    "divided by the number of pixels",
    "rmse_per_pixel": "square root of sse over the number of pixel values",
}

_BOUNDS = {
    "elbo": "evidence lower bound in nats per image, with every KL in full; higher is "
    "better",
    "elbo_relaxed": "like elbo, but with relaxed categories in place of one-hot ones, "
    "as in training, so that it is not a bound; the number that the authors' code of "
    "CP-VAE reports, in nats per image",
    "elbo_reconstruction": "-E[log p(x | z)] of the bound, in nats per image",
    "elbo_kl": "KL divergence of all latents in the bound, in nats per image",
    "log_likelihood": "importance-sampled log p(x), in nats per image; higher is "
    "better",
    "log_likelihood_ess": "effective sample size of log_likelihood, mean over images: "
    "how many of its draws count; with fewer than 10, do not trust the likelihood",
    "log_likelihood_images": "number of images behind log_likelihood",
    "log_likelihood_samples": "number of draws per image behind log_likelihood",
    "bits_per_dim": "-log_likelihood in bits per pixel value, where p(x) is a "
    "probability of discrete pixels (Likelihood.is_mass); lower is better",
    "audit": "checks of inequalities that valid numbers fulfil, see mvae_tf.audit",
}

_COMPONENTS = {
    "selected_components": "mean number of components that the mask keeps",
    "selected_components_expected": "the closed form of selected_components, K P(m >= "
    "threshold)",
    "selected_components_of_four": "selected_components, counted over four components "
    "even where there are more, as the authors' MVAE-Gau script for K = 6 counts",
    "dropout_rate": "dropout rate p of the components",
    "mask_stddev": "standard deviation of the Gaussian mask of MVAE-Gau; above 1 about "
    "half of the masks are kept, whatever the weights",
    "component_usage": "expected mixing weight of each component, mean over images",
    "dhsic": "pairwise dHSIC (square root) of the components' drawn latents, K x K",
    "active_units": "number of latent dimensions, of all components, whose posterior "
    "mean has a variance over images above 0.01 (Burda et al. 2016)",
    "active_units_components": "active_units of each component, a list",
}

_CATEGORIES = {
    "category_information": "I(c; x) in nats, the mutual information of category and "
    "image: how much q(c | x) says about the image; 0 where c is not used, log K at "
    "most",
    "category_entropy": "H(q(c)) in nats, the entropy of the mean of q(c | x) over "
    "images; log K where all categories are used alike",
    "categories_used": "fraction of the K categories with a mean of q(c | x) over "
    "images above 1/K",
}

_CLUSTERING = {
    "cluster_accuracy": "percent of images whose most probable category is the one "
    "that is matched to their label. The best one-to-one matching (Hungarian method) "
    "is used, so the number is low where there are more categories than labels; higher "
    "is better",
    "cluster_purity": "percent of images with the most frequent label of their most "
    "probable category; grows with the number of categories; higher is better",
    "cluster_nmi": "normalised mutual information of label and most probable "
    "category, 0 to 1; higher is better",
    "cluster_ari": "adjusted Rand index of the two, 0 by chance, 1 at most; higher is "
    "better",
    "top_categories_distinct": "distinct categories in the table of the 5 most "
    "probable of each label (CP-VAE Tables 2, A1); 5 times the labels at most",
    "top_categories_shared": "categories of that table under more than one label; "
    "lower is better",
}

_CLASSIFICATION = {
    "accuracy_mlp": "percent of test labels that a network of 100 ReLU predicts from "
    "the posterior means of all components; higher is better",
    "accuracy_svm": "like accuracy_mlp, but by a linear SVM (C = 1)",
    "accuracy_knn": "like accuracy_mlp, but by the 5 nearest neighbours",
    "accuracy_mlp_component_0": "like accuracy_mlp, but from the first component "
    "alone; _1, _2, ... are the others",
    "accuracy_svm_component_0": "like accuracy_svm, but from the first component "
    "alone; _1, _2, ... are the others",
    "accuracy_knn_component_0": "like accuracy_knn, but from the first component "
    "alone; _1, _2, ... are the others",
    "classification_error": "percent of test labels that CGM's own classifier of "
    "codes, 128 ReLU, gets wrong (CGM Table I); lower is better",
    "classification_images": "number of training images behind the accuracies",
}

_SCORES = {
    "classifier": "name of the classifier behind the scores, which only compare with "
    "those of the same one",
    "inception_score": "exp E KL(p(label | x) || p(label)) of reconstructions with "
    "drawn latents, mean over 10 splits; 1 up to the number of labels, higher is "
    "better",
    "inception_score_stddev": "standard deviation of inception_score over the splits",
    "inception_score_samples": "like inception_score, but of draws from the prior",
    "inception_score_data": "like inception_score, but of the test images themselves",
    "frechet_distance": "squared Frechet distance between Gaussians of the "
    "classifier's features of reconstructions and of test images; lower is better",
    "frechet_distance_samples": "like frechet_distance, but of draws from the prior",
}

UNITS = _ERRORS | _BOUNDS | _COMPONENTS | _CATEGORIES | _CLUSTERING
UNITS |= _CLASSIFICATION | _SCORES


def meaning(name: str) -> str:
    """Return the text of `UNITS` about a number.

    Args:
        name: str, name of the number. All components have the text of component 0.

    Returns:
        The text; an empty one for a number that is not documented.
    """
    return UNITS.get(re.sub(r"(_component)_\d+$", r"\1_0", name), "")
