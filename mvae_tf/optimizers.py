"""Optimisers of a run: Adam with TensorFlow's fused kernel, or any of Keras."""

import inspect
import types
from typing import Any

import keras
import tensorflow as tf

from mvae_tf.config import Training
from mvae_tf.parts.part import choice, like_default

__all__ = ["FusedAdam", "arguments", "find", "find_schedule", "from_settings"]


@keras.saving.register_keras_serializable(package="mvae_tf")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with each update done in one pass over memory.

    It computes the same as Keras' Adam, which runs about twelve kernels for each
    variable, in one kernel, TensorFlow's `ResourceApplyAdam`. AMSGrad and sparse
    gradients are left to Keras.

    Args:
        *args: positional arguments of `keras.optimizers.Adam`.
        normalize_gradients: bool, whether the gradient of each variable is first
            divided by its norm + 1e-7, as in the code of the VampPrior experiments
            (https://github.com/jmtomczak/vae_vampprior); no paper mentions it.
        **kwargs: keyword arguments of `keras.optimizers.Adam`.
    """

    def __init__(self, *args, normalize_gradients=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.normalize_gradients = normalize_gradients
        self._shared = {}

    def get_config(self):
        """Return the configuration from which an equal optimiser is made."""
        return super().get_config() | {"normalize_gradients": self.normalize_gradients}

    def build(self, var_list):
        """Make the moments of each variable."""
        if self.built:
            return
        super().build(var_list)
        moments = [
            [slot for slot in self.variables if slot.name.endswith(name)]
            for name in ("_momentum", "_velocity")
        ]
        slots = {}
        for group in zip(var_list, *moments, strict=True):
            for variable, *slot in zip(*map(_handles, group), strict=True):
                slots[id(variable)] = slot
        # Keras would store what is in a dict, but not in a view, in checkpoints.
        self._slots = types.MappingProxyType(slots)

    def apply(self, grads, trainable_variables=None):
        """Take one step; the scalars that all variables share are computed once."""
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            # The dtype of a Keras variable is a string, which needs conversion.
            dtypes = {tf.as_dtype(v.dtype) for v in trainable_variables or ()}
            rate = self.learning_rate
            self._shared = {dtype: self._scalars(rate, dtype) for dtype in dtypes}
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._shared = {}

    def _scalars(self, learning_rate, dtype):
        """Compute the scalar arguments of the kernel."""
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = (tf.constant(b, dtype) for b in (self.beta_1, self.beta_2))
        return {
            "beta1_power": tf.pow(beta_1, step),
            "beta2_power": tf.pow(beta_2, step),
            "lr": tf.cast(learning_rate, dtype),
            "beta1": beta_1,
            "beta2": beta_2,
            "epsilon": tf.constant(self.epsilon, dtype),
        }

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable and its moments."""
        if self.normalize_gradients:
            gradient = tf.convert_to_tensor(gradient)
            gradient /= tf.norm(gradient) + 1e-7
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        first, second = self._slots[id(variable.handle)]
        dtype = tf.as_dtype(variable.dtype)
        scalars = self._shared.get(dtype) or self._scalars(learning_rate, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first,
            v=second,
            grad=tf.cast(gradient, dtype),
            **scalars,
        )


def _handles(variable):
    """Return the handles of a variable, one for each replica."""
    strategy = tf.distribute.get_strategy()
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return [local.handle for local in strategy.experimental_local_results(variable)]


# === Optimisers by name ===

# Arguments that are null or numbers greater than 0, and shares of a moving average.
_POSITIVE = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "gradient_accumulation_steps",
    "loss_scale_factor",
    "weight_decay",
)
_SHARES = ("beta_1", "beta_2", "ema_momentum", "rho")


def from_settings(training: Training) -> keras.optimizers.Optimizer:
    """Make the optimiser of a run, with its learning rate or schedule.

    Args:
        training: `Training`, settings of the training.

    Raises:
        ValueError: on a name that Keras does not know, and on arguments that the
            optimiser or the schedule does not take.
    """
    rate = training.learning_rate
    if isinstance(rate, dict):
        rate = _made(find_schedule(rate["class_name"]), rate["config"])
    else:
        rate = float(rate)  # Keras refuses an int.
    given = training.optimizer["config"] | {"learning_rate": rate}
    kind = find(training.optimizer["class_name"])
    if kind is FusedAdam:
        given["epsilon"] = training.adam_epsilon
        given["normalize_gradients"] = training.normalize_gradients
    return _made(kind, given)


def find(name: str) -> type[keras.optimizers.Optimizer]:
    """Return the class of an optimiser.

    Args:
        name: str, name of a class of `keras.optimizers` ("Adam" is `FusedAdam`), or the
            name of another class that is registered with Keras, such as "own>Lion".

    Raises:
        ValueError: on an unknown name; the message has the nearest one.
    """
    base = keras.optimizers.Optimizer
    known = _subclasses(keras.optimizers, base) | {"Adam": FusedAdam}
    for wrapper in ("LossScaleOptimizer", "MultiOptimizer"):
        # These contain other optimisers; Keras itself adds the first one for float16.
        known.pop(wrapper, None)
    return _found(name, known, base, "optimizer")


def find_schedule(name: str) -> type[keras.optimizers.schedules.LearningRateSchedule]:
    """Return the class of a learning rate schedule, as `find` does for optimisers."""
    base = keras.optimizers.schedules.LearningRateSchedule
    known = _subclasses(keras.optimizers.schedules, base)
    return _found(name, known, base, "schedule")


def arguments(kind: type) -> list[str]:
    """Return the names of the arguments of an optimiser or a schedule."""
    base = inspect.signature(keras.optimizers.Adam).parameters
    own = inspect.signature(kind).parameters
    named = [p.name for p in own.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if kind is FusedAdam:
        named += list(base)
    return [name for name in named if name not in ("learning_rate", "kwargs", "name")]


def _subclasses(module: types.ModuleType, base: type) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


def _found(name: str, known: dict[str, type], base: type, what: str) -> Any:
    registered = keras.saving.get_registered_object(name)
    if isinstance(registered, type) and issubclass(registered, base):
        return registered
    return known[choice(name, known, what)]


def _check_arguments(kind: type, given: dict[str, Any]) -> None:
    """Refuse values that Keras takes and computes nonsense with."""
    defaults = {
        name: parameter.default
        for each in (kind, keras.optimizers.Adam if kind is FusedAdam else kind)
        for name, parameter in inspect.signature(each).parameters.items()
    }
    for key, value in given.items():
        what = f"{key} of {kind.__name__}"
        if key not in ("learning_rate", "name"):
            like_default(what, value, defaults[key])
        if key in _POSITIVE and value is not None:
            if not like_default(what, value, 1.0) > 0:
                raise ValueError(f"Expected {what} > 0, got {value!r}.")
        if key in _SHARES and not 0 <= value < 1:
            raise ValueError(f"Expected {what} in [0, 1), got {value!r}.")


def _made(kind: type, given: dict[str, Any]) -> Any:
    for key in given:
        choice(
            key,
            ["learning_rate", "name", "normalize_gradients", *arguments(kind)],
            f"argument of {kind.__name__},",
        )
    for parameter in inspect.signature(kind).parameters.values():
        required = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        required &= parameter.default is parameter.empty
        if required and parameter.name not in given:
            raise ValueError(f"Expected {parameter.name} of {kind.__name__}, got none.")
    _check_arguments(kind, given)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{kind.__name__}: {error}") from error
