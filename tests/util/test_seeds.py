"""Every draw has a seed of its own, and the same one on every machine."""

import hypothesis
import pytest
from hypothesis import strategies as st

from loglearn_tf._util.seeds import derive_seed

PROPERTY = hypothesis.settings(derandomize=True, deadline=None, max_examples=100)
WORD = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=8)


# The first 31 bits of what sha256sum prints, as in `printf '7\x1fweights\x1ftut\x1fvgg\x1f100\x1f1\x1f4' | sha256sum`.
# Whoever changes one of these changes every clip drawn and every weight initialised: a break with all results so far.
@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0,), 0x5FECEB66 // 2),
        ((0, "clips", "us8k", 1, 10, 0, "dog_bark"), 0x2D503262 // 2),
        ((7, "weights", "tut", "vgg", 100, 1, 4), 0xD32D9C82 // 2),
    ],
)
def test_is_frozen(arguments, seed):
    assert derive_seed(*arguments) == seed


@PROPERTY
@hypothesis.given(st.integers(0, 2**64), st.lists(WORD | st.integers(-5, 2**40), max_size=6))
def test_fits_every_library(seed, what):
    # NumPy takes up to 2**32 - 1, TensorFlow's and Keras' seeds are signed 32-bit integers.
    derived = derive_seed(seed, *what)
    assert type(derived) is int
    assert 0 <= derived <= 2_147_483_647


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "weights"), (1, "weights")),
        ((0, "weights"), (0, "patches")),
        ((0, "weights", 1, 2), (0, "weights", 2, 1)),
        # What is joined must not run together.
        ((0, "weights", 1, 12), (0, "weights", 11, 2)),
        ((0, "weights", 112), (0, "weights", 11, 2)),
        ((0, "weights"), (0, "weights", "")),
        ((1, 0), (10,)),
    ],
)
def test_differs_with_every_argument_and_its_place(one, other):
    assert derive_seed(*one) != derive_seed(*other)


def test_neighbours_are_unrelated():
    """Seeds of runs 0, 1, 2 … spread over the whole range."""
    seeds = [derive_seed(0, "weights", run) for run in range(4000)]
    assert len(set(seeds)) == 4000
    quarters = [sum(seed // 2**29 == quarter for seed in seeds) for quarter in range(4)]
    # 1000 each, standard deviation 27.
    assert min(quarters) > 860 and max(quarters) < 1140
    rising = sum(after > before for before, after in zip(seeds, seeds[1:], strict=False))
    assert 1860 < rising < 2140
