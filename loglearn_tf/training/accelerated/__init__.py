"""Networks that train faster: a twin of fused layers that shares every variable with the plain network."""

from loglearn_tf.training.accelerated.precision import check_bfloat16
from loglearn_tf.training.accelerated.twin import Accelerated, accelerate

__all__ = ["Accelerated", "accelerate", "check_bfloat16"]
