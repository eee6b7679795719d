"""`LearnableLog` inside a PyTorch network, trained in a PyTorch loop.

Run: KERAS_BACKEND=torch python experiments/examples/torch_loop.py
Needs: torch and keras; no TensorFlow
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch

from loglearn_tf import LearnableLog


class Net(torch.nn.Module):
    """Mel power `(batch, frames, n_mels)` to logits `(batch, n_classes)`."""

    def __init__(self, n_mels: int, n_classes: int) -> None:
        super().__init__()
        # On this backend a Keras layer is a `torch.nn.Module`. Once built, its weights are parameters of the network.
        self.compression = LearnableLog()
        self.compression.build((None, None, n_mels))
        self.norm = torch.nn.BatchNorm1d(n_mels)
        self.logits = torch.nn.Linear(n_mels, n_classes)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        log_mel = self.norm(self.compression(mel).transpose(1, 2))  # (batch, n_mels, frames)
        return self.logits(log_mel.mean(dim=2))


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    labels = torch.arange(60, device=device) % 3
    # Classes differ in faint bands, which a lower knee reveals.
    level = np.where(np.arange(16) // 5 == labels.cpu().numpy()[:, None], 1e-3, 1e-5)
    mel = torch.tensor(level[:, None] * rng.exponential(size=(60, 20, 16)), dtype=torch.float32, device=device)

    net = Net(n_mels=16, n_classes=3).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    cross_entropy = torch.nn.CrossEntropyLoss()
    losses, alphas = [], [net.compression.alpha.item()]
    for _ in range(50):
        optimizer.zero_grad()
        loss = cross_entropy(net(mel), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        alphas.append(net.compression.alpha.item())
    assert losses[-1] < 0.8 * losses[0], losses
    assert abs(alphas[-1] / alphas[0] - 1) > 1e-3, alphas
    print(f"PyTorch: loss {losses[0]:.3f} to {losses[-1]:.3f}, alpha {alphas[0]:.1f} to {alphas[-1]:.1f}")


if __name__ == "__main__":
    main()
