"""What benchmarks/pruning.py counts."""

from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.pruning import Outcome, cells, pruner_of, replayed


def trial(epochs: int, value: float | None, at_each_validation: float = 1.0) -> FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        intermediate_values=dict.fromkeys(range(9, epochs, 10), at_each_validation),
    )


WHOLE = [trial(100, 0.5), trial(100, 0.3), trial(100, 0.2)]
PRUNED = [trial(100, 0.5), trial(30, None)]


def test_epochs_are_counted_to_the_last_that_was_reported() -> None:
    failed = create_trial(state=TrialState.FAIL)
    assert Outcome.of([*PRUNED, failed]) == Outcome(trials=3, pruned=1, epochs=130, best=0.5)


def test_searches_of_different_lengths_are_compared_by_their_first_trials() -> None:
    assert cells(WHOLE, PRUNED) == "200 | 130 | 35 % | 1 of 2 | 0.3000 | 0.5000 |"


def test_a_replay_ends_trials_where_the_pruner_would() -> None:
    worse = trial(100, 0.6, at_each_validation=2.0)
    ended = replayed([*WHOLE[:1], worse, WHOLE[1]], MedianPruner(n_startup_trials=1))
    assert [t.last_step for t in ended] == [99, 9, 99]
    assert Outcome.of(ended) == Outcome(trials=3, pruned=1, epochs=210, best=0.3)


def test_the_pruner_is_that_of_the_search() -> None:
    """Every trial gets a quarter of the epochs; then the worse ones end."""
    for epochs, first in ((200, 59), (100, 29)):
        pruner = pruner_of([f"trainer.max_epochs={epochs}"])
        worse = trial(epochs, 0.6, at_each_validation=2.0)
        ended = replayed([*[trial(epochs, 0.5)] * 4, worse], pruner)
        assert ended[-1].last_step == first
