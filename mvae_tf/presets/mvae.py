"""Presets of MVAE, and of the single VAE on the same data.

Ye and Bors, "Deep Mixture Generative Autoencoders" (IEEE TNNLS 2022), and the scripts
at https://github.com/dtuzi123/Mixture-of-VAE-with-dropout.

`mvae-gs`, `mvae-gau` and `mvae-fixed` start from K = 6 components unless the name says
otherwise. The default follows the paper's equations, corrected where they are
misprinted; the weight of the Gaussian KL, which the paper does not mention, is 1.
`@code` follows the script in `Preset.source`: its weights, the place and the
regulariser of its mask, its clipped Dirichlet KL, no gradient through the mixing
weights (TensorFlow 1.6 had none), batch statistics in every batch normalisation, and a
tanh output on CIFAR images in [0, 1].

Mistakes of the scripts that `@code` leaves out:

- `Dropout_Simple_10_Gaussian` and `Dropout_Simple_4_Gaussian_RandomSample` have a mask
  that replaces the encoders' concentrations;
- the exported CIFAR6_Gaussian graph masks the concentrations 5 and 6 twice;
- the colour scripts continue from a checkpoint, while `@code` starts from scratch;
- a step with a NaN destroys the weights in the scripts, and is skipped in `@code`.

On MNIST and Fashion-MNIST, `@code` trains on all 60,000 images, as the scripts do: an
epoch is 429 batches of 128, drawn from the images in a new order. The script of
MVAE-Gau with K = 6 on MNIST, `Dropout_Sinple_6_Gaussian`, feeds the latent of encoder 4
to the sub-decoders 4, 5 and 6; its preset does so too (`latent_sources`), because the
errors that Table VI reports for this model are those of a program with this mistake.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from mvae_tf.presets.preset import Preset
from mvae_tf.presets.reported import REPORTED
from mvae_tf.presets.settings import CONV_64, SETTINGS

__all__ = ["presets"]

MASKS = {"gs": "gumbel", "gau": "gaussian", "fixed": None}


def presets():
    """Return all presets of this paper."""
    scripts = (script.preset() for script in SCRIPTS)
    return [*_mixtures(), *_plots(), *_single(), *scripts]


def _preset(name, model, dataset, arguments, source="TNNLS 2022", **training):
    setting = SETTINGS[dataset]
    return Preset(
        name=name,
        model=model,
        arguments=setting.arguments | arguments,
        data=setting.data,
        training=dataclasses.replace(setting.training, **training),
        source=source,
        paper=REPORTED.get(name.removesuffix("@code"), ()),
    )


def _name(variant, num_components, dataset):
    size = "" if num_components == 6 else f"-k{num_components}"
    return f"mvae-{variant}{size}-{dataset}"


def _mixtures():
    sizes = [(variant, 6, dataset) for dataset in SETTINGS for variant in MASKS]
    sizes += [(variant, k, "mnist") for k in (1, 4) for variant in ("gs", "gau")]
    sizes += [("fixed", 4, "mnist"), ("gau", 4, "cifar10"), ("gau", 4, "celeb_a")]
    for variant, k, dataset in sizes:
        arguments = {"num_components": k, "mask": MASKS[variant]}
        arguments |= SETTINGS[dataset].mixture
        yield _preset(_name(variant, k, dataset), "mvae", dataset, arguments)


def _plots():
    """Yield the presets with two latent dimensions, whose latents Figs 8-13 show."""

    def plot(variant, figures, num_components, mask, **arguments):
        size = {"latent_dim": 2, "num_components": num_components, "mask": mask}
        name = f"mvae-{variant}-mnist"
        return _preset(
            name, "mvae", "mnist", size | arguments, f"TNNLS 2022, {figures}"
        )

    yield plot("gau-conditional-k4", "Fig 8", 4, "gaussian", num_classes=10)
    yield plot("gau-conditional", "Figs 9-10", 6, "gaussian", num_classes=10)
    yield plot("gau-k4-z2", "Fig 11", 4, "gaussian")
    yield plot("gs-z2-beta0", "Fig 13", 6, "gumbel", independence_weight=0.0)
    yield plot("gs-z2", "Fig 12", 6, "gumbel")
    yield plot("gs-z2-beta10", "Figs 12-13", 6, "gumbel", independence_weight=10.0)


def _single():
    for dataset in SETTINGS:
        yield _preset(f"vae-{dataset}", "vae", dataset, {})


# === The authors' scripts ===


@dataclass(frozen=True)
class Script:
    """Settings of one of the authors' scripts.

    Attributes:
        source: str, name of the script; where the authors have none, "as" and the name
            of the script whose settings are used.
        variant: str, key of `MASKS`, which is part of the preset's name.
        num_components: int, number K of components, 4 or 6.
        dataset: str, name of the data set.
        mask: dict, configuration of the mask, or None.
        kl_weight: float, weight of the Gaussian KL.
        arguments: dict, further arguments of the model.
        training: dict, training settings that differ from those of the data set.
    """

    source: str
    variant: str
    num_components: int
    dataset: str
    mask: dict[str, Any] | None
    kl_weight: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def preset(self):
        """Make the preset `@code`."""
        arguments = {
            "num_components": self.num_components,
            "mask": self.mask,
            "mixing": {
                "name": "dirichlet",
                "prior": {4: 0.25, 6: 0.17}[self.num_components],
                "kl_form": "clipped",
                "reparameterized": False,
            },
            "kl_weight": self.kl_weight,
        }
        preset = _preset(
            f"{_name(self.variant, self.num_components, self.dataset)}@code",
            "mvae",
            self.dataset,
            arguments | self.arguments,
            f"script: {self.source}",
            **self.training,
        )
        data = SCRIPT_DATA.get(self.dataset, {})
        return dataclasses.replace(preset, data=preset.data | data)


# The scripts hold no images out for validation. They train on 429 batches per epoch,
# although the images would fill more.
SCRIPT_DATA = {
    name: {"validation_size": 0, "steps_per_epoch": 429}
    for name in ("mnist", "fashion_mnist")
}

GS = {"name": "gumbel", "regularizer_form": "squared_entropy"}
GS_CONV = GS | {"placement": "concentration"}
GS_CIFAR = GS_CONV | {"regularizer_form": "dropout_kl"}

GAU = {"name": "gaussian", "parameterization": "raw_std", "initial": -10.0}
GAU_CONV = GAU | {"placement": "concentration"}
GAU_CIFAR = GAU | {"renormalize": False}

CIFAR = {
    "network": {"name": "conv", "batch_statistics": True},
    "likelihood": {"name": "sse", "activation": "tanh"},
}
CIFAR_4 = CIFAR | {
    "latent_dim": 128,
    "network": {
        "name": "conv",
        "kernel_size": 5,
        "units": 0,
        "feature_map": [2, 2, 512],
        "decoder": [[256, 2], [128, 2], [64, 2]],
        "output_stride": 2,
        "batch_statistics": True,
    },
}
LARGE = {"network": CONV_64 | {"batch_statistics": True}}
SHORT = {"epochs": 5}
SLIP = {"latent_sources": [0, 1, 2, 3, 3, 3]}

SCRIPTS = (
    Script("Dropout_Simple_4_Bernoulli", "gs", 4, "mnist", GS),
    Script("Dropout_Simple_4_Gaussian", "gau", 4, "mnist", GAU),
    Script("Dropout_Simple_6_Bernoulli", "gs", 6, "mnist", GS),
    Script("Dropout_Sinple_6_Gaussian", "gau", 6, "mnist", GAU, arguments=SLIP),
    Script("Dropout_6_Bernoulli_NoDropout", "fixed", 6, "mnist", None),
    Script("Simple6_..Fashion_Measurment", "gs", 6, "fashion_mnist", GS),
    Script("as Dropout_Sinple_6_Gaussian", "gau", 6, "fashion_mnist", GAU),
    Script("as Dropout_6_Bernoulli_NoDropout", "fixed", 6, "fashion_mnist", None),
    Script("CIFAR6_Bernoulli", "gs", 6, "cifar10", GS_CIFAR, 1e-5, CIFAR),
    Script("CIFAR6_Gaussian2", "gau", 6, "cifar10", GAU_CIFAR, 0.1, CIFAR),
    Script("as CIFAR6_Gaussian2", "fixed", 6, "cifar10", None, 0.1, CIFAR),
    Script("CIFAR4_Gaussian", "gau", 4, "cifar10", GAU_CIFAR, 0.01, CIFAR_4),
    Script("as CIFAR6_Bernoulli", "gs", 6, "cifar100", GS_CIFAR, 1e-5, CIFAR),
    Script("as CIFAR6_Gaussian2", "gau", 6, "cifar100", GAU_CIFAR, 0.1, CIFAR),
    Script("as CIFAR6_Gaussian2", "fixed", 6, "cifar100", None, 0.1, CIFAR),
    Script("Celeba6_Bernoulli", "gs", 6, "celeb_a", GS_CONV, 0.1, LARGE, SHORT),
    Script("Celeba6_Gaussian", "gau", 6, "celeb_a", GAU_CONV, 0.1, LARGE, SHORT),
    Script("as Celeba6_Gaussian", "fixed", 6, "celeb_a", None, 0.1, LARGE, SHORT),
    Script("Celeba4_1_Gaussian", "gau", 4, "celeb_a", GAU_CONV, 0.1, LARGE, SHORT),
    Script("ImageNet_Bernoulli", "gs", 6, "imagenet64", GS_CONV, 0.01, LARGE),
    Script("as Celeba6_Gaussian", "gau", 6, "imagenet64", GAU_CONV, 0.01, LARGE),
    Script("as ImageNet_Bernoulli", "fixed", 6, "imagenet64", None, 0.01, LARGE),
)
