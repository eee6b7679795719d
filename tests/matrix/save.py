"""Trains a model with two `LearnableLog` layers by a loop written for the backend, and saves it with its logits."""

import os
import sys
from pathlib import Path

import keras
import numpy as np

from loglearn_tf import LearnableLog


def build() -> keras.Model:
    mel = keras.Input((None, 16), name="mel")
    one = LearnableLog(name="one", learning_rate_factor=10.0)(mel)
    each = LearnableLog.from_values(alpha=10_000, beta=1, per_band=True, name="each")(mel)
    x = keras.layers.BatchNormalization()(keras.layers.Concatenate()([one, each]))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(mel, keras.layers.Dense(3, name="logits")(x))


def train(model: keras.Model, mel: np.ndarray, labels: np.ndarray) -> None:
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.05)
    optimizer.build(model.trainable_variables)
    backend = keras.backend.backend()
    for _ in range(10):
        if backend == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = loss_of(labels, model(mel, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        elif backend == "torch":
            model.zero_grad()
            loss_of(labels, model(mel, training=True)).backward()
            gradients = [variable.value.grad for variable in model.trainable_variables]
            import torch

            with torch.no_grad():
                optimizer.apply(gradients, model.trainable_variables)
        else:
            import jax

            def loss(trainable, non_trainable):
                logits, non_trainable = model.stateless_call(trainable, non_trainable, mel, training=True)
                return loss_of(labels, logits), non_trainable

            trainable = [variable.value for variable in model.trainable_variables]
            non_trainable = [variable.value for variable in model.non_trainable_variables]
            gradients, non_trainable = jax.grad(loss, has_aux=True)(trainable, non_trainable)
            for variable, value in zip(model.non_trainable_variables, non_trainable, strict=True):
                variable.assign(value)
            optimizer.apply(gradients, model.trainable_variables)


def main(path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build()
    rng = np.random.default_rng(0)
    mel = (10 ** rng.uniform(-8, 3, (12, 20, 16))).astype("float32")
    train(model, mel, np.arange(12) % 3)
    number = keras.ops.convert_to_numpy
    alpha, beta = number(model.get_layer("one").alpha), number(model.get_layer("each").beta)
    assert abs(float(alpha) - 1096.633) > 1 and np.ptp(beta) > 0, "nothing was trained"
    model.save(path)
    np.savez(path.with_suffix(".npz"), mel=mel, logits=number(model(mel)), alpha=alpha, beta=beta)
    print(f"{os.environ['SURROUNDING']}: trained to alpha = {float(alpha):.3f} and saved")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
