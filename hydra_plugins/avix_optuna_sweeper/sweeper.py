"""The plugin itself: its settings, and the loop of claiming, launching and telling trials."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import src.sweeps.storage  # noqa: F401 - registers what configs say of a pruner's epochs
from hydra_plugins.avix_optuna_sweeper._config import NO_PRUNER, SweepError

if TYPE_CHECKING:
    import optuna

    from hydra_plugins.avix_optuna_sweeper._space import SearchSpace
    from hydra_plugins.avix_optuna_sweeper._study import SharedStudy

log = logging.getLogger(__name__)


class AvixOptunaSweeper(Sweeper):
    """A search with Optuna that can be killed, resumed, and run by several workers at once.

    The arguments are those of :class:`~hydra_plugins.avix_optuna_sweeper._config.AvixOptunaConf`.
    """

    def __init__(
        self,
        params: dict[str, Any] | None,
        n_trials: int,
        n_jobs: int,
        direction: str | list[str],
        study_name: str | None,
        storage: str | None,
        folder: str,
        sampler: dict[str, Any],
        pruner: dict[str, Any] | None,
        max_failure_rate: float,
    ) -> None:
        self.params = params or {}
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        self.study_name = study_name
        self.storage = storage
        self.folder = Path(folder)
        self.sampler = sampler
        self.pruner = pruner or {"_target_": NO_PRUNER}
        self.max_failure_rate = max_failure_rate
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: Launcher | None = None
        self._check_settings()

    @property
    def prunes(self) -> bool:
        """Whether there is a pruner."""
        return self.pruner["_target_"] != NO_PRUNER

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Name the study and its folder, and make the launcher.

        Args:
            hydra_context: Hydra's loader of configs, and its callbacks.
            task_function: The function of a trial.
            config: The composed config; the study's name, storage and folder are written into
                its ``hydra`` part, where launchers and the pruning callback read them.
        """
        self.config = config
        self.hydra_context = hydra_context
        self.study_name = self.study_name or default_study_name(config)
        given_dir = _override_value(config.hydra.overrides.hydra, "hydra.sweep.dir")
        study_dir = Path(given_dir or self.folder / self.study_name).absolute()
        self.folder = study_dir
        self.storage = self.storage or str(study_dir / "journal.log")
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = str(study_dir)
            config.hydra.sweeper.study_name = self.study_name
            config.hydra.sweeper.storage = self.storage
            # Each job's config is composed anew, from these.
            config.hydra.overrides.hydra += [
                f"hydra.sweep.dir={_quoted(str(study_dir))}",
                f"hydra.sweeper.study_name={_quoted(self.study_name)}",
                f"hydra.sweeper.storage={_quoted(self.storage)}",
            ]
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> float | None:
        """Run trials until the study has ``n_trials``, then report.

        Args:
            arguments: The overrides of the command line. Sweeps among them belong to the search
                space, and all of them come before ``params``.

        Returns:
            The best value; None where no trial completed or there are several objectives.

        Raises:
            SweepError: If the space does not fit the config, the study was made by another
                command, too many trials fail, or all do.
        """
        # Imported here, so that a start without a sweep does not wait for Optuna.
        from hydra_plugins.avix_optuna_sweeper._report import report
        from hydra_plugins.avix_optuna_sweeper._space import SearchSpace
        from hydra_plugins.avix_optuna_sweeper._study import SharedStudy

        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        space = SearchSpace.parse(parser, self.params, arguments)
        composed = self._compose_samples(space)
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        with SharedStudy(self, space, composed) as study:
            self._run_trials(study, space)
            return report(study, space)

    def _run_trials(self, study: SharedStudy, space: SearchSpace) -> None:
        log.info("Study %s in %s: %s", self.study_name, self.folder, study.counts())
        while batch := study.claim(self.n_jobs):
            for trial, outcome in self._launch(study, batch, space):
                study.finish(trial, outcome)

    def _launch(
        self, study: SharedStudy, batch: Sequence[optuna.Trial], space: SearchSpace
    ) -> Iterator[tuple[optuna.Trial, Any]]:
        """Run a batch; yield each trial with what it returned, or the exception it raised."""
        assert self.launcher is not None
        for trials in _consecutive(batch):
            jobs = [space.overrides(trial.params) for trial in trials]
            try:
                returns = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
            except Exception as error:  # noqa: BLE001 - of one batch; the sweep goes on without it
                yield from ((trial, error) for trial in trials)
            else:
                yield from zip(trials, map(_outcome, returns), strict=True)

    def _check_settings(self) -> None:
        if self.n_trials < 1 or self.n_jobs < 1:
            raise SweepError(
                f"hydra.sweeper.n_trials={self.n_trials} and n_jobs={self.n_jobs}; expected at "
                "least 1."
            )
        if not 0 <= self.max_failure_rate <= 1:
            raise SweepError(
                f"hydra.sweeper.max_failure_rate={self.max_failure_rate} must be a share, 0 to 1."
            )
        if wrong := [d for d in self.directions if d not in ("minimize", "maximize")]:
            raise SweepError(f"hydra.sweeper.direction: {wrong}; it is minimize or maximize.")
        if self.prunes and len(self.directions) > 1:
            raise SweepError(
                "hydra.sweeper.pruner: Optuna prunes with one objective only; set pruner=null or "
                "one direction."
            )

    def _compose_samples(self, space: SearchSpace) -> dict[str, Any]:
        """Compose jobs that between them use every choice and both ends of every range.

        Returns:
            The first one's config, plain, without Hydra's part and with interpolations as written.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        if not space.dimensions:
            raise SweepError(
                "There is nothing to search: give hydra.sweeper.params, or a sweep such as "
                "'model.optimizer.lr=tag(log,interval(1e-4,1e-2))' on the command line."
            )
        samples: list[DictConfig] = []
        for overrides in space.samples():
            try:
                samples.append(
                    self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
                )
            except CompactHydraException as error:
                searched = ", ".join(space.dimensions)
                raise SweepError(
                    f"The search space does not fit the config. It searches {searched}.\n{error}"
                ) from error
            if samples[-1].get("optimized_metric", "none needed") is None:
                raise SweepError(
                    "optimized_metric is null, so that no trial would return a value; name a "
                    "metric, for example optimized_metric=val/mae_best"
                )
        first = OmegaConf.to_container(samples[0])
        assert isinstance(first, dict)
        return {str(key): value for key, value in first.items() if key != "hydra"}


def default_study_name(config: DictConfig) -> str:
    """Join the names of the search and the experiment; without both, take the config's."""
    choices = config.hydra.runtime.choices
    names = [choices.get(group) for group in ("hparams_search", "experiment")]
    return "-".join(name.replace("/", "_") for name in names if name) or str(
        config.hydra.job.config_name
    )


def _override_value(overrides: Iterable[str], key: str) -> str | None:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values = [o.value() for o in parsed if o.key_or_group == key]
    return str(values[-1]) if values else None


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def _consecutive(trials: Sequence[optuna.Trial]) -> Iterator[list[optuna.Trial]]:
    """Split trials into runs of consecutive numbers, as a launcher numbers the jobs of a batch."""
    groups = itertools.groupby(enumerate(trials), lambda item: item[1].number - item[0])
    for _, group in groups:
        yield [trial for _, trial in group]


def _outcome(job: JobReturn) -> Any:
    """Return the job's value, or the exception that it raised."""
    # The property would print that a pruned job failed.
    return job._return_value
