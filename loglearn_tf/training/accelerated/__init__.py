"""Networks that train faster: a twin of fused layers that shares every variable with the plain network."""

from loglearn_tf.training.accelerated.precision import Precision, check_bfloat16
from loglearn_tf.training.accelerated.twin import Accelerated, accelerate

__all__ = ["Accelerated", "Precision", "accelerate", "check_bfloat16"]
