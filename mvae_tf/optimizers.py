"""Adam through TensorFlow's fused kernel."""

import types

import keras
import tensorflow as tf

__all__ = ["FusedAdam"]


@keras.saving.register_keras_serializable(package="mvae_tf")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with each update done in one pass over memory.

    The arithmetic is that of Keras; its Adam runs it as a dozen kernels, TensorFlow's
    `ResourceApplyAdam` as one. AMSGrad and sparse gradients take Keras' way.

    Args:
        *args: arguments of `keras.optimizers.Adam`.
        normalize_gradients: whether the gradient of each variable is divided by its
            norm + 1e-7 first, as in the code of the VampPrior experiments
            (https://github.com/jmtomczak/vae_vampprior); no paper mentions it.
        **kwargs: arguments of `keras.optimizers.Adam`.
    """

    def __init__(self, *args, normalize_gradients=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.normalize_gradients = normalize_gradients
        self._bias_powers = {}

    def get_config(self):
        """Configuration that makes an equal optimiser."""
        return super().get_config() | {"normalize_gradients": self.normalize_gradients}

    def build(self, var_list):
        """Makes the moments of each variable."""
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
        # A view, for Keras tracks what is in a dict as part of a checkpoint.
        self._slots = types.MappingProxyType(slots)

    def apply(self, grads, trainable_variables=None):
        """One step; what its variables share is computed once."""
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            dtypes = {variable.dtype for variable in self._trainable_variables}
            self._bias_powers = {dtype: self._powers(dtype) for dtype in dtypes}
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._bias_powers = {}

    def _powers(self, dtype):
        """The powers of both betas that the corrections of the bias need."""
        step = tf.cast(self.iterations + 1, dtype)
        return tuple(
            tf.pow(tf.constant(beta, dtype), step)
            for beta in (self.beta_1, self.beta_2)
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its moments."""
        if self.normalize_gradients:
            gradient = tf.convert_to_tensor(gradient)
            gradient /= tf.norm(gradient) + 1e-7
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        first, second = self._slots[id(variable.handle)]
        dtype = variable.dtype
        power_1, power_2 = self._bias_powers.get(dtype) or self._powers(dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first,
            v=second,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


def _handles(variable):
    """Handles of a variable on each replica."""
    strategy = tf.distribute.get_strategy()
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return [local.handle for local in strategy.experimental_local_results(variable)]
