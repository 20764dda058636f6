"""Adam through TensorFlow's fused kernel."""

import keras
import tensorflow as tf

__all__ = ["FusedAdam"]


@keras.saving.register_keras_serializable(package="mvae_tf")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with each update done in one pass over memory.

    The arithmetic is that of Keras; its Adam runs it as a dozen kernels, TensorFlow's
    `ResourceApplyAdam` as one. AMSGrad and sparse gradients take Keras' way.

    Args:
        *args, **kwargs: arguments of `keras.optimizers.Adam`.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its moments."""
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        first, second = self._momentums[index], self._velocities[index]
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(first),
            v=_handle(second),
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


def _handle(variable):
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return variable.handle
