"""What benchmarks/pruning.py counts."""

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.pruning import Outcome, row


def trial(epochs: int, value: float | None) -> FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        intermediate_values=dict.fromkeys(range(9, epochs, 10), 1.0),
    )


WHOLE = [trial(100, 0.5), trial(100, 0.3), trial(100, 0.2)]
PRUNED = [trial(100, 0.5), trial(30, None)]


def test_epochs_are_counted_to_the_last_that_was_reported() -> None:
    failed = create_trial(state=TrialState.FAIL)
    assert Outcome.of([*PRUNED, failed]) == Outcome(trials=3, pruned=1, epochs=130, best=0.5)


def test_searches_of_different_lengths_are_compared_by_their_first_trials() -> None:
    assert row(7, WHOLE, PRUNED) == "| 7 | 200 | 130 | 35 % | 1 of 2 | 0.3000 | 0.5000 |"
