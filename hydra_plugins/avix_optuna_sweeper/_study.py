"""A study that several processes work on, each of which may die at any moment."""

from __future__ import annotations

import logging
import math
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import TracebackType
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock
from hydra.utils import instantiate
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hydra_plugins.avix_optuna_sweeper._config import SweepError
from hydra_plugins.avix_optuna_sweeper._space import SearchSpace
from hydra_plugins.avix_optuna_sweeper._workers import Worker
from src.sweeps.storage import PRUNED_AT, open_storage
from src.utils.errors import ConfigError

if TYPE_CHECKING:
    from hydra_plugins.avix_optuna_sweeper.sweeper import AvixOptunaSweeper

log = logging.getLogger(__name__)

# User attributes of trials
WORKER = "worker"  # the worker that runs it
FAILURE = "failure"  # the reason of a failure; a failed trial without one was killed
# User attributes of the study
MADE_BY = "made_by"  # the fixed and the searched keys of the command
CONFIG = "config"  # the first worker's composed config, by dotted keys
NUM_WORKERS = "num_workers"  # of all workers so far


@dataclass(frozen=True)
class Counts:
    """The numbers of a study's trials by state.

    Attributes:
        completed: Returned a value.
        pruned: Stopped by the pruner.
        failed: Raised, or returned no finite number.
        killed: Ended without a result, with their process.
        running: Have not ended.
    """

    completed: int
    pruned: int
    failed: int
    killed: int
    running: int

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> Counts:
        """Count a study's trials."""
        states = [trial.state for trial in trials]
        reasons = [FAILURE in t.user_attrs for t in trials if t.state is TrialState.FAIL]
        return cls(
            completed=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=reasons.count(True),
            killed=reasons.count(False),
            running=states.count(TrialState.RUNNING),
        )

    @property
    def finished(self) -> int:
        """The trials that ended by themselves, which ``n_trials`` counts."""
        return self.completed + self.pruned + self.failed

    def __str__(self) -> str:
        text = (
            f"{self.finished} trials finished: {self.completed} completed, {self.pruned} pruned, "
            f"{self.failed} failed"
        )
        if self.killed:
            text += f"; {self.killed} killed before their end"
        if self.running:
            text += f"; {self.running} running"
        return text


class SweepStudy(optuna.Study):
    """A study outside Optuna's own loop, whose sampler can end it.

    Attributes:
        exhausted: Whether the sampler has tried its whole space.
    """

    exhausted = False

    def stop(self) -> None:
        """End the study; samplers that enumerate their space call this."""
        self.exhausted = True


class SharedStudy:
    """The study of a sweep, as one of its workers sees it; a context manager.

    Trials are claimed under a lock in the study's folder, so that all workers together come to
    ``n_trials``.

    Args:
        settings: The sweeper.
        space: What is searched.
        config: The composed config of a sample of the space, plain.

    Raises:
        SweepError: If the storage cannot be opened, or holds a study of this name that another
            command made.
    """

    def __init__(
        self, settings: AvixOptunaSweeper, space: SearchSpace, config: Mapping[str, Any]
    ) -> None:
        assert settings.study_name is not None
        assert settings.storage is not None
        self.settings = settings
        self._name = settings.study_name
        self._space = space
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # the sweeper logs in its own words
        try:
            self._storage = open_storage(settings.storage)
        except ConfigError as error:
            raise SweepError(str(error)) from error
        self.lock = FileLock(settings.folder / "study.lock")
        self._worker = Worker(settings.folder, self._storage)
        with self.lock:
            self.study = self._open(config)

    def __enter__(self) -> SharedStudy:
        self._worker.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What Ctrl-C ended is not left for the next worker to find.
        for trial in self._running():
            if trial.user_attrs.get(WORKER) == self._worker.attributes:
                self._tell(trial.number, state=TrialState.FAIL)
        self._worker.__exit__(kind, error, trace)

    def counts(self) -> Counts:
        """The states of all trials, those of other workers too."""
        return Counts.of(self.study.get_trials(deepcopy=False))

    def claim(self, at_most: int) -> list[optuna.Trial]:
        """Take the next trials for this worker.

        Args:
            at_most: How many.

        Returns:
            The trials; none when the study has, with what runs elsewhere, all it is to have.

        Raises:
            SweepError: If more trials have failed than ``max_failure_rate`` allows.
        """
        with self.lock:
            self._fail_dead_trials()
            counts = self.counts()
            wanted = self.settings.n_trials - counts.finished - counts.running
            if self.study.exhausted:
                log.info("The sampler has tried its whole space.")
                wanted = 0
            allowed = self.settings.max_failure_rate * self.settings.n_trials
            if wanted > 0 and counts.failed > allowed:
                raise self._failures(
                    f"{counts.failed} of {self.settings.n_trials} trials failed, more than "
                    f"hydra.sweeper.max_failure_rate={self.settings.max_failure_rate} allows."
                )
            return [self._ask() for _ in range(min(at_most, wanted))]

    def finish(self, trial: optuna.Trial, outcome: Any) -> None:
        """Record how a trial ended.

        Args:
            trial: The trial.
            outcome: What it returned, or the exception that it raised.
        """
        self._worker.ended(trial._trial_id)
        number = trial.number
        pruned_at = self._storage.get_trial(trial._trial_id).user_attrs.get(PRUNED_AT)
        if isinstance(outcome, optuna.TrialPruned) or pruned_at is not None:
            self._tell(number, state=TrialState.PRUNED)
            log.info("Trial %d: pruned%s", number, "" if pruned_at is None else f" at {pruned_at}")
            return
        values = _finite_values(outcome)
        if len(values) == len(self.settings.directions):
            self._tell(number, state=TrialState.COMPLETE, values=values)
            log.info("Trial %d: %s", number, ", ".join(f"{value:.6g}" for value in values))
            return
        reason = f"returned {outcome!r}"
        if isinstance(outcome, Exception):
            reason = f"{type(outcome).__name__}: {str(outcome).strip()}".split("\n")[0]
            reason += f" (trace in {self._write_trace(number, outcome)})"
        trial.set_user_attr(FAILURE, reason)
        self._tell(number, state=TrialState.FAIL)
        log.error("Trial %d failed: %s", number, reason)

    def check_any_succeeded(self) -> None:
        """Refuse a study that has no result at all.

        Raises:
            SweepError: If every trial failed.
        """
        counts = self.counts()
        if counts.failed and counts.failed == counts.finished and not counts.running:
            raise self._failures(f"All {counts.failed} trials failed.")

    def _open(self, config: Mapping[str, Any]) -> SweepStudy:
        sampler = instantiate(self.settings.sampler)
        pruner = instantiate(self.settings.pruner)
        made = optuna.create_study(
            study_name=self._name,
            storage=self._storage,
            directions=[StudyDirection[name.upper()] for name in self.settings.directions],
            load_if_exists=True,
        )
        self._check_command(made)
        now = flattened(config)
        then = made.user_attrs.get(CONFIG)
        if then is None:
            made.set_user_attr(CONFIG, now)
        elif changed := sorted(k for k in {*then, *now} if then.get(k) != now.get(k)):
            # No error: a change may matter to no result, such as another folder of data sets.
            log.warning(
                "The config files differ from those that this study was started with, so its "
                "trials may not compare: %s",
                ", ".join(f"{key}: {then.get(key)} -> {now.get(key)}" for key in changed),
            )
        num_workers = made.user_attrs.get(NUM_WORKERS, 0)
        made.set_user_attr(NUM_WORKERS, num_workers + 1)
        if num_workers:
            # From the same seed it would suggest what an earlier worker has tried.
            sampler.reseed_rng()
        return SweepStudy(self._name, made._storage, sampler=sampler, pruner=pruner)

    def _check_command(self, made: optuna.Study) -> None:
        """Refuse a study whose trials would not compare with those of this command."""
        command = {
            "direction": self.settings.directions,
            "fixed overrides": sorted(self._space.fixed),
            "search space": sorted(
                f"{name}: {distribution_to_json(distribution)}"
                for name, distribution in self._space.distributions.items()
            ),
        }
        earlier = made.user_attrs.get(MADE_BY, command)
        earlier = earlier | {"direction": [d.name.lower() for d in made.directions]}
        for what, now in command.items():
            if earlier[what] != now:
                raise SweepError(
                    f"The study {self._name} in {self.settings.storage} was made with another "
                    f"{what}.\n  then: {', '.join(earlier[what])}\n  now:  {', '.join(now)}\n"
                    "Repeat the first command to go on, or set hydra.sweeper.study_name to start "
                    "another study."
                )
        made.set_user_attr(MADE_BY, command)

    def _ask(self) -> optuna.Trial:
        with warnings.catch_warnings():
            # This warning is for databases; here the worker sends the heartbeats.
            warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
            trial = self.study.ask(self._space.distributions)
        trial.set_user_attr(WORKER, self._worker.attributes)
        self._worker.started(trial._trial_id)
        return trial

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _fail_dead_trials(self) -> None:
        """Mark the trials of dead workers as failed; the caller holds the lock."""
        if isinstance(self._storage, RDBStorage):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                fail_stale_trials(self.study)
        for trial in self._running():
            worker = trial.user_attrs.get(WORKER)
            # A trial is made and gets its worker under the lock; without one, its worker died.
            if worker is None or self._worker.is_dead(worker):
                self._tell(trial.number, state=TrialState.FAIL)
                log.info("Trial %d was killed; it is marked failed.", trial.number)

    def _tell(
        self, number: int, *, state: TrialState, values: Sequence[float] | None = None
    ) -> None:
        # It is finished already if another worker took this one for dead.
        self.study.tell(number, values=values, state=state, skip_if_finished=True)

    def _write_trace(self, number: int, error: Exception) -> str:
        path = self.settings.folder / str(number) / "error.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
        return str(path)

    def _failures(self, sentence: str) -> SweepError:
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        last = [trial for trial in trials if FAILURE in trial.user_attrs][-1]
        return SweepError(
            f"{sentence} The last, trial {last.number}: {last.user_attrs[FAILURE]}\nTo start anew, "
            f"remove {self.settings.folder} or set hydra.sweeper.study_name."
        )


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a plain config to dotted keys.

    Args:
        config: Nested mappings; lists are values.
        prefix: What comes before each key.

    Example:
        >>> flattened({"model": {"net": {"size": 3}}, "seed": 1})
        {'model.net.size': 3, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _finite_values(outcome: Any) -> list[float]:
    """Return the objective's values; none where one of them is no finite number."""
    values = outcome if isinstance(outcome, list | tuple) else [outcome]
    finite = all(isinstance(v, Real) and math.isfinite(v) for v in values)
    return [float(value) for value in values] if finite else []
