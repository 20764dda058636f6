"""Batched matrix products, small ones by an operation that starts sooner on a CPU."""

import tensorflow as tf

__all__ = ["batched_product"]


def batched_product(
    a: tf.Tensor,
    b: tf.Tensor,
    small: bool,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> tf.Tensor:
    """Compute `tf.matmul(a, b)` of tensors of rank 2 or more.

    TensorFlow gives `BatchMatMulV2` of a CPU to oneDNN, which is fast for large
    matrices, but takes about 50 microseconds to start. `BatchMatMulV3` is computed
    without it.

    Args:
        a: `[..., n, d]`, or `[..., d, n]` if it is to be transposed.
        b: `[..., d, m]`, or `[..., m, d]` if it is to be transposed.
        small: bool, whether the product takes less time than oneDNN takes to start. It
            should not depend on the batch size, so that all batches are rounded alike.
        transpose_a: bool, whether to transpose `a`.
        transpose_b: bool, whether to transpose `b`.

    Returns:
        `[..., n, m]`. Where `small` is true, automatic differentiation would compute
        the gradient with the slower operation.
    """
    if not small or a.dtype != tf.float32:
        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    return tf.raw_ops.BatchMatMulV3(
        x=a, y=b, adj_x=transpose_a, adj_y=transpose_b, Tout=a.dtype
    )
