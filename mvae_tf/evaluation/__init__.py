"""Evaluation of a trained model, in groups of numbers that `UNITS` documents.

`evaluate` measures groups of numbers on a data set; most numbers are means over its
images. `model.log_likelihood(x, num_samples)` returns the values of single images, of
which the number "log_likelihood" is the mean, for a histogram (GMMpVAE Fig 10).

`mvae_tf.evaluation.audit` checks that numbers have the order that valid bounds have,
and `mvae_tf.evaluation.samplers` fits distributions to the latents of a model.
"""

from mvae_tf.evaluation.classifiers import Classifier, inception, train_classifier
from mvae_tf.evaluation.groups import GROUPS, evaluate
from mvae_tf.evaluation.scores import frechet_distance, inception_score
from mvae_tf.evaluation.units import UNITS, meaning

__all__ = [
    "GROUPS",
    "UNITS",
    "Classifier",
    "evaluate",
    "frechet_distance",
    "inception",
    "inception_score",
    "meaning",
    "train_classifier",
]
