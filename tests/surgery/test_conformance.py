"""Every registered surgery keeps every contract."""

import pytest
from surgery_table import TABLE

from expunge import registry
from expunge.errors import MissingExtraError
from expunge.pair import Pair
from expunge.surgery import (
    CAGrad,
    EUPMUFastSurgery,
    EUPMUOfficialSurgery,
    EUPMUSurgery,
    GramianSurgery,
    GramianWeighting,
    LinearCombination,
    NashMTL,
    Projection,
    Surgery,
    WeightedSum,
)
from expunge.testing import CHECKS, ContractError, check_surgery
from expunge.testing.conformance import check_micro_batches


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", TABLE.values(), ids=TABLE)
def test_contract(make, check):
    try:
        make()
    except MissingExtraError as error:
        pytest.skip(str(error))
    if make in (CAGrad, NashMTL) and check is check_micro_batches:
        pytest.skip("an interior-point solver: equal to 1e-9, not to rounding")
    check(make)


def test_all_of_ours_are_registered():
    ours = {WeightedSum, EUPMUSurgery, EUPMUFastSurgery, EUPMUOfficialSurgery, Projection, GramianWeighting}
    assert ours <= {entry.target for entry in registry.list_entries("surgeries").values()}


class Undecided(Surgery):
    def forward(self, step):
        step.gradient("forget")


class Twice(Surgery):
    def forward(self, step):
        step.backward(LinearCombination(1.0, 1.0))
        step.backward(LinearCombination(1.0, 1.0))


class Forgetful(Surgery):
    """Keeps its memory outside of state_dict and learns from steps that were skipped."""

    def __init__(self):
        super().__init__()
        self.weight = 1.0

    def forward(self, step):
        step.backward(LinearCombination(1.0, self.weight))
        self.weight += 1.0


class MeanLosses(Surgery):
    """Divides by the gradients: not finite where they vanish."""

    def forward(self, step):
        forget = step.gradient("forget")
        step.set_direction(forget * (1 / forget.norm()))


class Rescaler(GramianSurgery):
    """The 'single-side PCGrad' of public code: it scales the other gradient instead of subtracting the projection."""

    def __init__(self, tolerance: float = 0.0):
        super().__init__()
        self.register_buffer("tolerance", Projection(tolerance).tolerance)

    def weights(self, gram):
        scale = (gram[0, 1] / gram[1, 1]).clamp(max=0.0)
        return gram.new_tensor([1.0, 0.0]) + gram.new_tensor([0.0, 1.0]) * scale


@pytest.mark.parametrize("wrong", [Undecided, Twice, Forgetful, MeanLosses, Rescaler])
def test_the_suite_finds_what_is_wrong(wrong):
    with pytest.raises((ContractError, registry.ConfigError.__base__)):
        check_surgery(wrong)


def test_pair_is_ordered():
    assert Pair("f", "r").of("retain") == "r"
