"""A synthesiser whose sounds an engine makes, in a process of its own."""

import importlib.util
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict, Unpack

import numpy as np
from annotated_types import Interval
from jaxtyping import Float32, Float64

from src.schema.arguments import check_arguments, section
from src.schema.bounds import Text
from src.schema.specs import TARGET
from src.synth.engines.audit import SETTINGS, audit
from src.synth.engines.completing import completed_parameters
from src.synth.engines.control import Control
from src.synth.engines.engine import Description, EngineSpec
from src.synth.engines.programs import program_digest, program_text, trusted_program
from src.synth.engines.worker import EngineWorker
from src.synth.errors import LostSounds, RecipeError, recipe_errors
from src.synth.philox import uniforms
from src.synth.samples import drawn
from src.synth.synthesizers import Synthesizer
from src.utils.pylogger import RankedLogger
from src.utils.trust import PROGRAM_KEYS

TIMEOUT_S = 20.0
log = RankedLogger(__name__, rank_zero_only=True)


@dataclass(frozen=True)
class EngineRecord:
    """The recipe's `engine`: what made the sounds.

    Attributes:
        name: The synthesiser's type, such as "faust".
        version: Of the package that renders.
        sha256: Of the program's text, or of the plug-in's files; None: there is neither.
    """

    name: Text
    version: str
    sha256: str | None = None


@dataclass(frozen=True)
class AuditRecord:
    """The recipe's `audit`: what :mod:`src.synth.engines.audit` found.

    Attributes:
        settings: So many were rendered several times.
        fresh: Whether each sound gets a new engine, since one carries something over.
        variation_db: RMS of the difference between two sounds of the same values, relative to the
            sound's, the largest of the settings; None: they are the same.
        spectrum_db: The mean absolute difference of their spectra's levels, the same.
    """

    settings: int
    fresh: bool = False
    variation_db: float | None = None
    spectrum_db: float | None = None


class EngineOptions(TypedDict, total=False):
    """What every engine's synthesiser takes; :class:`EngineSynth` explains it."""

    sample_rate_hz: int
    duration_s: float
    fixed: Mapping[str, float | str] | None
    timeout_s: Annotated[float, Interval(gt=0, le=3600)]
    allow_variation: bool
    engine: Mapping[str, object] | None
    audit: Mapping[str, object] | None
    program: str | None


class EngineSynth(Synthesizer):
    """Parameters are the controls of an engine.

    A recipe names some of them, or none: then all vary but those of the note. :meth:`completed`
    fills in what the engine says of them. A data set's recipe is complete, and is read without
    the engine. The engine's package is imported in the worker's process alone.

    Subclasses set `synth_type`; `engine_class`, the import path of their
    :class:`~src.synth.engines.engine.Engine`; `packages`, what that imports; `extra`, the extra
    that installs it; and where it runs a program or a plug-in, `program_key`: the argument that
    is its path.

    Args:
        parameters: control → `min`, `max`, `step` …, each as the engine has it if left out.
        own: arguments of the subclass, which its engine gets.
        **options: `sample_rate_hz` and `duration_s`; `fixed`: control → its value, of a menu the
            class's name or index; `timeout_s`: how long a sound may take to render, s, or it is
            lost; `allow_variation`: whether two sounds of the same values may differ. The others
            are written by :meth:`completed` and by the audit.

    Raises:
        VIMHError: for parameters that are not well-formed.
    """

    engine_class: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]
    program_key: ClassVar[str | None] = None
    keeps_text: ClassVar[bool] = False  # whether the program is a text, which the recipe keeps
    is_audited = True
    batch_size = 64
    beside_identity = frozenset(
        {"timeout_s", "allow_variation", "audit", "program", "fixed", *PROGRAM_KEYS}
    )

    @abstractmethod
    def __init__(
        self,
        parameters: Mapping[str, object],
        own: Mapping[str, object],
        **options: Unpack[EngineOptions],
    ) -> None:
        self.parameter_names = tuple(parameters)
        rate_hz, duration_s = options["sample_rate_hz"], options["duration_s"]
        super().__init__(parameters, sample_rate_hz=rate_hz, duration_s=duration_s)
        engine, audit = options.get("engine"), options.get("audit")
        with recipe_errors():
            self.engine = section(EngineRecord, engine, "synth.engine") if engine else None
            self.audit = section(AuditRecord, audit, "synth.audit") if audit else None
        self.varies = options.get("allow_variation", False)
        self._own = own
        program = own.get(self.program_key or "")
        name = f"{self.synth_type}_{Path(str(program)).stem}" if program else self.synth_type
        self.set_name = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64]  # "faust_voice"
        self._timeout_s = options.get("timeout_s", TIMEOUT_S)

    def render(
        self, values: Mapping[str, Float64[np.ndarray, "B"]], num_samples: int | None = None
    ) -> Float32[np.ndarray, "B T"]:
        """Render a batch; see :meth:`Synthesizer.render`.

        Raises:
            LostSounds: for sounds that the engine did not make.
        """
        length = self.num_samples if num_samples is None else num_samples
        rows = np.stack([values[name] for name in self.parameter_names], axis=1)
        is_fresh = self.audit is not None and self.audit.fresh
        audio, lost = self._worker.render(self.parameter_names, rows, length, is_fresh)
        if lost:
            raise LostSounds(audio, lost, values)
        return audio

    def audited(self) -> dict[str, Any]:
        """Render a few settings several times; see :meth:`Synthesizer.audited`.

        Raises:
            RecipeError: if sounds of the same values differ, and `allow_variation` is not said.
        """
        heads = list(self.parameters.heads.values())
        u = uniforms(0, np.arange(SETTINGS), len(heads))
        values = {p.name: drawn(p, u[:, k]) for k, p in enumerate(heads)}
        values |= {name: np.full(SETTINGS, p.min) for name, p in self.parameters.fixed.items()}
        rows = np.stack([values[name] for name in self.parameter_names], axis=1)
        self._check_program()
        fresh, found = audit(
            lambda: self._new_worker(self._own, self.sample_rate_hz, self._timeout_s),
            *(self.parameter_names, rows, self.num_samples),
            allow_variation=self.varies,
        )
        differs = {"variation_db": found.wave_db, "spectrum_db": found.spectrum_db}
        return {
            "audit": asdict(AuditRecord(SETTINGS, fresh, **(differs if found.is_heard else {})))
        }

    def _check_program(self) -> None:
        """Refuse a program that is another one by now."""
        path = self._own.get(self.program_key or "")
        if path is None or self.engine is None:
            return
        found = program_digest(Path(str(path)))
        if found != self.engine.sha256:
            raise RecipeError(
                f"synth.{self.program_key}: {path} has SHA-256 {found}, and the recipe was made "
                f"with {self.engine.sha256}: it was changed since"
            )

    @cached_property
    def _worker(self) -> EngineWorker:
        """The worker, started with what the recipe says that it is.

        Raises:
            VIMHError: if the engine cannot be used, or the program is another one by now.
        """
        self._check_program()
        worker = self._new_worker(self._own, self.sample_rate_hz, self._timeout_s)
        version = worker.describe().version
        if self.engine is not None and version != self.engine.version:
            log.warning(
                "%s: the sounds were made by version %s, this is %s: they may differ",
                *(self.synth_type, self.engine.version, version),
            )
        return worker

    @classmethod
    def _new_worker(
        cls, own: Mapping[str, object], sample_rate_hz: int, timeout_s: float
    ) -> EngineWorker:
        missing = [name for name in cls.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise RecipeError(
                f"synth={cls.synth_type} needs the package {missing[0]}, which is not installed: "
                f"pip install -e '.[{cls.extra}]'"
            )
        given = {key: value for key, value in own.items() if value is not None}
        spec = EngineSpec(cls.engine_class, {"sample_rate_hz": sample_rate_hz, **given})
        return EngineWorker(spec, timeout_s)

    @classmethod
    def completed(
        cls, config: Mapping[str, Any], *, sample_rate_hz: int, duration_s: float
    ) -> dict[str, Any]:
        """Fill in what the engine says; see :meth:`Synthesizer.completed`.

        Raises:
            VIMHError: if the engine does not start, or lacks a control.
        """
        if config.get("engine") is not None:
            return dict(config)
        description, given = cls._described(config, sample_rate_hz, duration_s)
        parameters = completed_parameters(
            given["parameters"], given.get("fixed") or {}, description.controls
        )
        path = given.get(cls.program_key or "")
        sha256 = None if path is None else program_digest(Path(path))
        record = EngineRecord(cls.synth_type, description.version, sha256)
        text = {"program": program_text(Path(path))} if path and cls.keeps_text else {}
        return {
            **{key: value for key, value in config.items() if key != "fixed"},
            "parameters": parameters,
            "engine": asdict(record),
            **text,
        }

    @classmethod
    def engine_controls(
        cls, config: Mapping[str, Any], *, sample_rate_hz: int, duration_s: float
    ) -> list[Control]:
        """Return all controls of the engine; see :meth:`Synthesizer.engine_controls`."""
        return list(cls._described(config, sample_rate_hz, duration_s)[0].controls)

    @classmethod
    def _described(
        cls, config: Mapping[str, Any], sample_rate_hz: int, duration_s: float
    ) -> tuple[Description, dict[str, Any]]:
        """Return what the engine says of itself, and the checked config."""
        plain = {key: value for key, value in config.items() if key != TARGET}
        sound = {"sample_rate_hz": sample_rate_hz, "duration_s": duration_s}
        with recipe_errors():
            given = check_arguments(cls, {**plain, **sound}, "synth")
        common = {"parameters", *EngineOptions.__annotations__}
        own = {key: value for key, value in given.items() if key not in common}
        worker = cls._new_worker(own, sample_rate_hz, given.get("timeout_s", TIMEOUT_S))
        try:
            return worker.describe(), given
        finally:
            worker.close()

    @classmethod
    def admitted(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Put the user's own program in the place of the file's; see :meth:`Synthesizer.admitted`.

        Raises:
            RecipeError: if the user trusts no program of that content.
        """
        if cls.program_key is None:
            return dict(config)
        with recipe_errors():
            record = section(EngineRecord, config.get("engine"), "synth.engine")
        path = trusted_program(record.sha256, str(config.get(cls.program_key)), cls.program_key)
        return {**config, cls.program_key: str(path)}
