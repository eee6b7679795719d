"""Seeds: every random draw has its own, derived from the study's seed and its purpose."""

import hashlib


def derive_seed(seed: int, *what: str | int) -> int:
    """A seed in [0, 2**31) for one purpose, independent of all others.

    Depends only on the arguments, never on the order of the work, the machine or Python's hash.

    Example:
        >>> derive_seed(0, "us8k", 1) == derive_seed(0, "us8k", 1) != derive_seed(0, "us8k", 2)
        True
    """
    key = "\x1f".join(str(part) for part in (seed, *what))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") >> 1
