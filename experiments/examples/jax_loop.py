"""`LearnableLog` in a JAX function, trained in a JAX loop with `stateless_call` and `value_and_grad`.

Run: KERAS_BACKEND=jax python experiments/examples/jax_loop.py
Needs: jax and keras; no TensorFlow
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from loglearn_tf import LearnableLog

N_MELS, N_CLASSES, RATE = 16, 3, 0.1


def main() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % N_CLASSES
    # Classes differ in faint bands, which a lower knee reveals.
    level = np.where(np.arange(N_MELS) // 5 == labels[:, None], 1e-3, 1e-5)
    mel = jnp.asarray(level[:, None] * rng.exponential(size=(60, 20, N_MELS)), jnp.float32)

    compression = LearnableLog()
    compression.build((None, None, N_MELS))
    # The layer's weights are an argument of the differentiated function, like all others.
    parameters = {
        "compression": [variable.value for variable in compression.trainable_variables],
        "kernel": 0.1 * jax.random.normal(jax.random.key(0), (N_MELS, N_CLASSES)),
        "bias": jnp.zeros(N_CLASSES),
    }
    rest = [variable.value for variable in compression.non_trainable_variables]

    def loss_of(parameters: dict[str, Any]) -> jax.Array:
        log_mel, _ = compression.stateless_call(parameters["compression"], rest, mel)
        normalised = (log_mel - log_mel.mean((0, 1))) / (log_mel.std((0, 1)) + 1e-3)
        logits = normalised.mean(axis=1) @ parameters["kernel"] + parameters["bias"]
        return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels].mean()

    @jax.jit
    def step(parameters: dict[str, Any]) -> tuple[jax.Array, dict[str, Any]]:
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        return loss, jax.tree.map(lambda value, gradient: value - RATE * gradient, parameters, gradients)

    losses, before = [], float(compression.alpha)
    for _ in range(50):
        loss, parameters = step(parameters)
        losses.append(float(loss))
    # Copy the weights back into the layer, to save or show it.
    for variable, value in zip(compression.trainable_variables, parameters["compression"], strict=True):
        variable.assign(value)
    after = float(compression.alpha)
    assert losses[-1] < 0.8 * losses[0], losses
    assert abs(after / before - 1) > 1e-3, (before, after)
    print(f"JAX: loss {losses[0]:.3f} to {losses[-1]:.3f}, alpha {before:.1f} to {after:.1f}")


if __name__ == "__main__":
    main()
