"""Tables and figures of MVAE.

Ye and Bors, "Deep Mixture Generative Autoencoders" (IEEE TNNLS 2022): Tables I-VI and
Figs 2-17; Fig 1 is a diagram. Rows that the paper quotes from others are left out.
"""

from typing import Any

from mvae_tf.reproduce import drawings
from mvae_tf.reproduce.experiment import Figure, Paper, Run, Table

__all__ = ["COLOUR_32", "FULL_GREY", "GREY", "LEARNT", "PAPER"]

# The papers train on all 60,000 images.
FULL_GREY = ("data.validation_size=0",)
# A quarter of the widths, and the step size that so few steps need.
NARROW = (
    "network.filters=[16, 32, 64, 128]",
    "network.units=256",
    "network.feature_map=[8, 8, 64]",
    "network.decoder=[[64, 2], [64, 1], [64, 2], [64, 1]]",
    "learning_rate=0.001",
)
GREY = ("epochs=30", "data.limit=20250")
COLOUR_32 = ("epochs=10", *NARROW)

REDUCED = {
    "mnist": GREY,
    "fashion_mnist": ("epochs=30", "data.limit=22500"),
    "cifar10": COLOUR_32,
    "cifar100": COLOUR_32,
    "imagenet64": ("epochs=5", "data.image_size=32", "network=conv", *NARROW),
    # Dense networks, on images of any size: these figures compare no numbers.
    "celeb_a": (
        "epochs=60",
        "data.limit=20000",
        "data.image_size=null",
        "network=mlp",
        "learning_rate=0.001",
    ),
}

# Left out are CB-VAE, which is quoted, MSVI, whose six deep decoders make a step about
# five times as long, and two of the authors' three scripts.
CIFAR10_ROWS = (
    *(f"mvae-{variant}-cifar10" for variant in ("gs", "gau", "fixed")),
    "mvae-gs-cifar10@code",
    *(f"{name}-cifar10" for name in ("vae", "beta-vae", "info-vae")),
    *(f"{name}-cifar10" for name in ("wwae", "mae")),
)
MNIST_ROWS = (
    *(f"mvae-{name}-mnist" for name in ("gs", "gs-k4", "gs-k1", "gau", "gau-k1")),
    *(f"mvae-{name}-mnist@code" for name in ("gs", "gs-k4", "gau", "gau-k4", "fixed")),
    *(f"{name}-mnist" for name in ("vae", "info-vae", "msvi")),
)

SCORED: dict[str, Any] = {
    "groups": ("reconstruction", "components", "scores"),
    "also": ("inception_score_samples", "frechet_distance"),
    "remark": "As in the authors' scripts, the RMSE is the square root of the squared "
    "error summed over an image, of drawn latents; the score is of reconstructions. "
    "Scales below full use a classifier that is trained on the data, whose scores "
    "can be compared with each other but not with the paper's. The paper does not give "
    "the weights, sizes and training of the baselines.",
}

CURVES = tuple(
    Run(f"mvae-gs-{dataset}@code")
    for dataset in ("mnist", "fashion_mnist", "cifar10", "celeb_a")
)
SMALL_CURVES = CURVES[:3]
CELEB_A = (Run("mvae-gau-celeb_a@code"),)
K4 = (Run("mvae-gau-k4-mnist@code"),)
LEARNT = "the first 20,000 training images, or from all if there are fewer"
PLANE = "The other dimension is 0 here; the paper does not say what it is."

TABLES = (
    Table(
        "mvae-table-1",
        "CIFAR10",
        "TNNLS 2022, Table I",
        reduced=CIFAR10_ROWS,
        **SCORED,
    ),
    Table("mvae-table-2", "CIFAR100", "TNNLS 2022, Table II", **SCORED),
    Table("mvae-table-3", "ImageNet", "TNNLS 2022, Table III", **SCORED),
    Table(
        "mvae-table-4",
        "Classes from the latents of all components",
        "TNNLS 2022, Table IV",
        groups=("classification",),
        # With a KL weight of 1e-5 the latents of this script grow so large that the SVM
        # does not end within minutes.
        reduced=tuple(
            row for row in (*MNIST_ROWS, *CIFAR10_ROWS) if row != "mvae-gs-cifar10@code"
        ),
        remark="The paper does not say how its classifier of two layers is trained; "
        f"ours learns from {LEARNT}.",
    ),
    Table(
        "mvae-table-5",
        "Classes from the latents of each component and of all, MNIST",
        "TNNLS 2022, Table V",
        groups=("classification", "component_classification"),
        remark="The caption says Gaussian dropout and the text MVAE-GS, to which Table "
        f"IV gives the same 98.04. Classifiers learn from {LEARNT}.",
    ),
    Table(
        "mvae-table-6",
        "Initial and selected number of components, MNIST",
        "TNNLS 2022, Table VI",
        groups=("reconstruction", "components"),
        also=("sse",),
        beside=("selected_components_of_four", "mask_stddev"),
        reduced=MNIST_ROWS,
        remark="Errors are summed over an image. The paper does not say whether a row "
        "with all components is the same model without its mask or another model that "
        "was trained without one, so both stand beside it here. The number of "
        "components that MVAE-Gau selects is shown once the standard deviation of its "
        "mask is below 1.",
    ),
)

FIGURES = (
    Figure(
        "mvae-figure-2",
        "Reconstructions by the mixture and by each component, MVAE-Gau, K = 4",
        drawings.components,
        K4,
    ),
    Figure(
        "mvae-figure-3",
        "Sub-decoders fed by other encoders, MVAE-Gau, K = 4",
        drawings.mismatch,
        K4,
    ),
    Figure(
        "mvae-figure-4", "CelebA reconstructions", drawings.reconstructions, CELEB_A
    ),
    Figure(
        "mvae-figure-5",
        "ImageNet reconstructions, MSVI and MVAE-Gau",
        drawings.reconstructions,
        (Run("msvi-imagenet64"), Run("mvae-gau-imagenet64")),
    ),
    Figure("mvae-figure-6", "Interpolation", drawings.interpolation(), CELEB_A),
    Figure(
        "mvae-figure-7",
        "Interpolation with mismatched sub-decoders",
        drawings.interpolation(shift=1),
        CELEB_A,
    ),
    Figure(
        "mvae-figure-8",
        "Label 5 along z[0] from 0 to 3, K = 4",
        drawings.traversal(0, 3.0),
        (Run("mvae-gau-conditional-k4-mnist"),),
        remark=PLANE,
    ),
    Figure(
        "mvae-figure-9",
        "Label 5 along z[0] from 0 to 6, K = 6",
        drawings.traversal(0, 6.0),
        (Run("mvae-gau-conditional-mnist"),),
        remark=PLANE,
    ),
    Figure(
        "mvae-figure-10",
        "Label 5 along z[1] from 0 to 6, K = 6",
        drawings.traversal(1, 6.0),
        (Run("mvae-gau-conditional-mnist"),),
        remark=PLANE,
    ),
    Figure(
        "mvae-figure-11",
        "Latents of each component by class, MVAE-Gau, K = 4, Z = 2",
        drawings.latents,
        (Run("mvae-gau-k4-z2-mnist"),),
    ),
    Figure(
        "mvae-figure-12",
        "Dependence of the components with beta 1 and 10, MVAE-GS, Z = 2",
        drawings.dependence,
        (Run("mvae-gs-z2-mnist"), Run("mvae-gs-z2-beta10-mnist")),
    ),
    Figure(
        "mvae-figure-13",
        "Latents of digit 1 by component with beta 10 and 0, MVAE-GS, Z = 2",
        drawings.latents_by_component(1),
        (Run("mvae-gs-z2-beta10-mnist"), Run("mvae-gs-z2-beta0-mnist")),
    ),
    Figure(
        "mvae-figure-14",
        "Objective over the epochs, MVAE-GS, K = 6",
        drawings.over_epochs("loss", "Objective", "Nats per image, mean of an epoch."),
        CURVES,
        SMALL_CURVES,
        remark="The paper plots the last batch of each epoch.",
    ),
    Figure(
        "mvae-figure-15",
        "Dropout rate over the epochs, MVAE-GS, K = 6",
        drawings.over_epochs("dropout_rate", "Dropout rate p of the components"),
        CURVES,
        SMALL_CURVES,
        remark="The authors' MNIST and Fashion scripts store 1 - p; this is p.",
    ),
    Figure(
        "mvae-figure-16",
        "Selected components over the epochs, MVAE-GS, K = 6",
        drawings.over_epochs("selected_components", "Selected components"),
        CURVES,
        SMALL_CURVES,
    ),
    Figure(
        "mvae-figure-17",
        "Samples of each component from the same draws of the prior",
        drawings.samples_by_component,
        CELEB_A,
    ),
)

PAPER = Paper(
    "Ye and Bors, Deep Mixture Generative Autoencoders (IEEE TNNLS 2022)",
    (*TABLES, *FIGURES),
    REDUCED,
    {"mnist": FULL_GREY, "fashion_mnist": FULL_GREY},
)
