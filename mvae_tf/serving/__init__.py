"""Export of a model as a SavedModel that TF Serving, or TensorFlow alone, can run.

Every signature has named inputs and named float32 outputs. All of them have a batch
axis of any size, 0 included. A row of an answer depends on the same row of the request
alone, so that a server may join and split batches:

| signature         | inputs                                | outputs               |
|-------------------|---------------------------------------|-----------------------|
| `serving_default` | `x` `[B, H, W, C]`                    | `images`              |
| `encode`          | `x` `[B, H, W, C]`                    | `mean` `[B, K, Z]`,   |
|                   |                                       | `stddev` `[B, K, Z]`, |
|                   |                                       | `weights` `[B, K]`    |
| `decode`          | `z` `[B, K, Z]`, `weights` `[B, K]`   | `images`              |
| `generate`        | `seed` int32 `[B, 2]`                 | `images`              |
| `interpolate`     | `x0`, `x1` `[B, H, W, C]`,            | `images`              |
|                   | `position` `[B]`, 0 at x0 and 1 at x1 |                       |

`serving_default` reconstructs from posterior means and expected weights. `images` are
`[B, H, W, C]` (or `[B, P]` for vectors) in the pixel scale of the likelihood. The
signatures of a conditional model have one more input, `label` int32 `[B]`. The answer
of `generate` to the row `[i, s]` is row i of `model.generate(num, seed=s)`.

A request is refused for values that the methods of the model refuse, too: pixels that
are not finite or out of the likelihood's range, latents and positions that are not
finite, weights that are negative or do not sum to 1, and unknown labels.

Each version holds a request for every signature, in a file whose requests TF Serving
runs before it answers (`assets.extra/tf_serving_warmup_requests`), so that no client
waits for the first run.

`format="litert"` and `format="onnx"` write each signature as a file for LiteRT or ONNX
instead. These files do not check requests. There is none for `generate`, because
neither runtime can run its random numbers and its loop over rows.
"""

from mvae_tf.serving.exporting import FORMATS, export

__all__ = ["FORMATS", "export"]
