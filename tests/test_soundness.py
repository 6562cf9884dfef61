"""A million segments against dense sampling: no certificate is ever false. `make certify-soak` runs ten million."""

import os

import pytest

from tests.soundness import KINDS, TIES, Tally, attack

ROUNDS = int(os.environ.get("ODESTEER_SOAK", "1"))
#: (dimension, degree, segments a kind)
SIZES = [(8, 2, 16_000), (32, 2, 8_000), (128, 2, 3_000), (768, 2, 600), (8, 1, 4_000), (96, 1, 2_000),
         (8, 3, 4_000), (64, 3, 1_000), (8, 4, 3_000), (64, 4, 800), (768, 3, 60), (768, 4, 60)]  # fmt: skip


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_no_certificate_is_false_and_next_to_nothing_is_undecided(size):
    everything, of_degree_two = Tally(), Tally()
    for turn in range(ROUNDS):
        for index, (d, degree, n) in enumerate(SIZES):
            for kind in KINDS:
                tally = attack(d, degree, n, 1000 * turn + index, kind, size)
                everything += tally
                if degree == 2 and kind not in TIES:
                    of_degree_two += tally
    assert everything.total >= 1_000_000 / 3
    assert everything.false_certificates == 0
    assert everything.false_refutations == 0
    assert everything.certified > 0.1 * everything.total
    assert everything.refuted > 0.1 * everything.total
    assert of_degree_two.undecided <= 1e-4 * of_degree_two.moving
    print(f"‖A‖ ≈ {size:g}: {everything}\n  degree 2, ties left out: {of_degree_two}")
