"""docs/results.md: the tables of the comparison, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.suite_plan import CNN, HEADS, VIT, Job, Plan, Table

Result = Mapping[str, Any]
Results = Mapping[str, Result]  # by the job's name
LONGER = "results_synthesizers.md#three-parameters-pitch-level-decay"
LABELS = {"note_number": "pitch", "note_velocity": "velocity", "log10_decay_time": "decay"}

HEADER = """# Results

Written by `make suite` (`benchmarks/suite.py`), which trains what is missing and goes on where it
was stopped: do not edit this page. `python benchmarks/suite.py --report` writes it from
[results.json](results.json), which keeps every run's figures.

- Every row: seeds {seeds} for weights and order of samples, the same split of the data (`data.seed`
  42), the same number of steps, AdamW with a cosine, heads weighted by their JND steps. Mean ±
  standard deviation over the seeds.
- Tested is the checkpoint with the least `val/mae_jnd`, on the test split. *Best* is chosen by
  the validation split: the share of samples with all parameters within one JND.
- "within ½ JND", "within 1 JND": all parameters of a sample at once; the columns behind them: one
  parameter, within 1 JND. MAE: mean over the parameters, in JND.
- A size in a network's name is that on 32×32 pixels; the column has the true number.
- Time is CPU time of one training epoch without validation, on one thread, {workers} side by side.
- `python benchmarks/suite.py --commands` prints the command of each training; here they run in
  processes of their own, with the seeds above.
"""


def render(
    tables: Sequence[Table],
    results: Results,
    plan: Plan,
    workers: int,
    provenance: Mapping[str, str],
) -> str:
    """The page.

    Args:
        tables: The tables, so far as they are known.
        results: What has been run.
        plan: What was planned.
        workers: How many runs there were side by side.
        provenance: Machine, versions, commit.
    """
    seeds = ", ".join(map(str, plan.seeds))
    lines = [HEADER.format(seeds=seeds, workers=workers)]
    lines += [f"{what}: {value}." for what, value in provenance.items()]
    missing = sum(job.name not in results for table in tables for job in table.jobs)
    if missing or len(tables) < 6:
        lines += ["", f"**Not finished**: {missing} runs of the tables below are missing."]
    findings = conclusions(tables, results)
    if findings:
        lines += ["", "## What it says", "", *(f"- {finding}" for finding in findings)]
    for table in tables:
        lines += ["", f"## {table.title}", "", *table_lines(table, results)]
    return "\n".join(lines) + "\n"


def table_lines(table: Table, results: Results) -> list[str]:
    """A table as Markdown, the best row first, the baselines last."""
    heads = HEADS[table.baselines.data]
    header = [table.first_column, "within ½ JND", "within 1 JND", "MAE (JND)"]
    header += [LABELS[head] for head in heads] + ["CPU s / epoch", "parameters", "steps"]
    rows = []
    for name, jobs in ranked(table, results):
        found = [results[job.name] for job in jobs if job.name in results]
        rows.append([name, *_cells(found, heads), *_costs(found)])
    for name, figures in results.get(table.baselines.name, {}).get("baselines", {}).items():
        rows.append([f"*{name}*", *_cells([{"test": figures}], heads), "", "", ""])
    rows += [
        [name] + ["not run"] + [""] * (len(header) - 2)
        for name, jobs in table.rows.items()
        if not any(job.name in results for job in jobs)
    ]
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def ranked(table: Table, results: Results) -> list[tuple[str, Sequence[Job]]]:
    """The rows of which something has been run, by the validation split, the best first."""

    def merit(row: tuple[str, Sequence[Job]]) -> tuple[float, float]:
        found = [results[job.name]["val"] for job in row[1] if job.name in results]
        return (-fmean(v["within_1.0"] for v in found), fmean(v["mae_jnd"] for v in found))

    there = [row for row in table.rows.items() if any(job.name in results for job in row[1])]
    return sorted(there, key=merit)


def conclusions(tables: Sequence[Table], results: Results) -> list[str]:
    """Sentences that follow from the numbers."""
    found = []
    of_losses = tables[0]
    order = [name for name, _ in ranked(of_losses, results)]
    if len(order) == len(of_losses.rows):
        best = order[0]
        found.append(f"Best loss: `{best}` ({_of(of_losses, best, results)}).")
        if "dg" in order and best != "dg":
            place = order.index("dg") + 1
            found.append(
                f"Direct gradient does not win: `dg` is number {place} of {len(order)} "
                f"({_of(of_losses, 'dg', results)})."
            )
        elif best == "dg":
            found.append("Direct gradient wins.")
    for table in tables:
        if table.baselines.data == "simple_3p" and (rows := ranked(table, results)):
            winner = max(rows, key=lambda row: _share(row[1], results))[0]
            found.append(
                f"simple_3p: the best of these is {winner} ({_of(table, winner, results)}). With a "
                f"joint layer, and for longer: [three parameters]({LONGER})."
            )
        found += _not_above_baselines(table, results)
        found += _cnn_against_vit(table, results)
    return found


def _share(jobs: Sequence[Job], results: Results) -> float:
    found = [results[job.name] for job in jobs if job.name in results]
    return fmean(result["test"]["within_1.0"] for result in found)


def _of(table: Table, name: str, results: Results) -> str:
    found = [results[job.name] for job in table.rows[name] if job.name in results]
    return f"within 1 JND {_spread([r['test']['within_1.0'] for r in found], percent=True)}"


def _not_above_baselines(table: Table, results: Results) -> list[str]:
    baselines = results.get(table.baselines.name, {}).get("baselines", {})
    if not baselines:
        return []
    name, best = max(baselines.items(), key=lambda item: item[1]["within_1.0"])
    weak = [
        row for row, jobs in ranked(table, results) if _share(jobs, results) <= best["within_1.0"]
    ]
    if not weak:
        return []
    return [f"{table.title}: not better than *{name}*: {', '.join(weak)}."]


def _cnn_against_vit(table: Table, results: Results) -> list[str]:
    rows = dict(ranked(table, results))
    vit = next((jobs for name, jobs in rows.items() if name.startswith(f"{VIT},")), None)
    if vit is None:
        return []
    cnn = rows.get(f"{CNN}, {vit[0].loss}")
    if cnn is None:
        return []
    shares, seconds = [], []
    for jobs in (cnn, vit):
        found = [results[job.name] for job in jobs if job.name in results]
        shares.append(_spread([r["test"]["within_1.0"] for r in found], percent=True))
        seconds.append(fmean(r["epoch_seconds"] for r in found))
    return [
        f"{table.baselines.data}: {CNN} has {shares[0]} within 1 JND and {VIT} {shares[1]}, at "
        f"{seconds[0]:.1f} against {seconds[1]:.1f} s an epoch "
        f"({seconds[0] / seconds[1]:.2f} of the time)."
    ]


def _cells(found: Sequence[Result], heads: Sequence[str]) -> list[str]:
    tests = [result["test"] for result in found]
    cells = [_spread([t[key] for t in tests], percent=True) for key in ("within_0.5", "within_1.0")]
    cells.append(_spread([t["mae_jnd"] for t in tests]))
    return cells + [
        _spread([t["heads"][head]["within_1.0"] for t in tests], percent=True) for head in heads
    ]


def _costs(found: Sequence[Result]) -> list[str]:
    seconds = fmean(result["epoch_seconds"] for result in found)
    return [f"{seconds:.1f}", f"{found[0]['num_weights']:,}", f"{found[0]['steps']:,}"]


def _spread(values: Sequence[float], percent: bool = False) -> str:
    factor, digits, unit = (100, 1, " %") if percent else (1, 3, "")
    scaled = [factor * value for value in values]
    text = f"{fmean(scaled):.{digits}f}"
    if len(scaled) > 1:
        text += f" ± {stdev(scaled):.{digits}f}"
    return text + unit
