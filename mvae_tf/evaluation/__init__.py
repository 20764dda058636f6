"""Evaluation of a trained model, in groups of numbers that `UNITS` documents.

`evaluate` measures the groups that it is asked for; each is a function of a `Task`, the
model and the data to measure it on. Numbers are averages over images of a data set.

The values behind the average of `log_likelihood`, for a histogram over images
(GMMpVAE Fig 10), are `model.log_likelihood(x, num_samples)`.
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
