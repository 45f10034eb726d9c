"""Whole evaluations of small sets: what is written, and what is said."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import open_dict

from src.build import build
from src.eval import evaluate
from src.evaluation.scoring.evaluation import (
    evaluate_split,
    refuse_collisions,
    sound_distances,
)
from src.evaluation.scoring.figures import figures_of, joint_figures
from src.utils.errors import ConfigError
from src.vimh.parameters import Parameter
from tests.browser import browser, missing_programs
from tests.helpers import shrink

SOUND = ("sound_mss", "sound_lsd", "sound_envelope", "sound_transport")


@pytest.fixture
def checkpoint(compose_config, data_root: Path, tmp_path: Path):
    """Of an untrained network: what it predicts is arbitrary, but always the same."""

    def made(experiment: str, *overrides: str, spoil: bool = False) -> Path:
        torch.manual_seed(1)
        names = [f"experiment={experiment}", *overrides]
        built = build(shrink(compose_config("train", *names), data_root))
        if spoil:
            next(iter(built.model.net.parameters())).data.fill_(torch.nan)
        content = {"state_dict": built.model.state_dict(), "epoch": 0, "global_step": 0}
        built.model.on_save_checkpoint(content)
        torch.save(content, tmp_path / "model.ckpt")
        return tmp_path / "model.ckpt"

    return made


@pytest.fixture
def evaluated(compose_config, tmp_path: Path):
    def run(path: Path, *overrides: str) -> tuple[dict, str, dict]:
        cfg = compose_config("eval", f"ckpt_path='{path}'", "report.resamples=50", *overrides)
        with open_dict(cfg):
            cfg.trainer.accelerator = "cpu"
            cfg.trainer.enable_progress_bar = False
            cfg.extras.print_config = False
            cfg.paths.output_dir = str(tmp_path / "out")
        (tmp_path / "out").mkdir(exist_ok=True)
        _, objects = evaluate(cfg)
        assert objects["report"] == tmp_path / "out" / "report.html"
        text = (tmp_path / "out" / "metrics.json").read_text()
        content = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        return content, (tmp_path / "out" / "report.md").read_text(), objects

    return run


def pictures(report: str, folder: Path) -> list[str]:
    """The pictures that a report shows; all of them are there."""
    names = re.findall(r"!\[.*?\]\((.*?)\)", report)
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in names)
    return [Path(name).name for name in names]


def test_everything_is_written(checkpoint, evaluated, tmp_path: Path) -> None:
    content, report, _ = evaluated(checkpoint("avix_cnn_72dss_jnd_dg_hybrid"))
    found = content["evaluation"]
    methods = ["network", "always the mean", "nearest image", "least squares (aux)",
               "3 neighbours (aux)"]  # fmt: skip
    assert list(found["methods"]) == methods
    assert (found["split"], found["num_samples"], found["num_sounds"]) == ("test", 7, 7)
    for figures in found["methods"].values():
        assert list(figures) == list(found["figures"])
        assert set(SOUND) < figures.keys()
        for estimate in figures.values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
    network = found["methods"]["network"]
    for name, value in content["metrics"].items():  # what Lightning logged, by the same names
        own = name.removeprefix("test/")
        if own in network:
            assert network[own]["value"] == pytest.approx(value, rel=1e-5), name
    assert found["not_better_than"].keys() == set(methods[1:])
    assert pictures(report, tmp_path / "out") == [
        "0_note_velocity.png", "1_log10_decay_time.png", "sounds.png", "worst.png",
    ]  # fmt: skip
    assert "## note_velocity: 126 to 127 MIDI, 1 JND = 0.5 MIDI" in report
    assert re.search(r"\| always the mean \| [\d.]+ \[[\d.]+, [\d.]+\] \|", report)
    # the nearest image of the 72-sample grid has the right decay
    assert "- Not better than nearest image in any figure (18)." in report


def test_the_page_holds_pictures_sounds_config_and_versions(
    checkpoint, evaluated, tmp_path: Path
) -> None:
    evaluated(checkpoint("avix_cnn_72dss_jnd_dg_hybrid"))
    page = (tmp_path / "out" / "report.html").read_text()
    loaded = re.findall(r'<(img|audio|a|link|script|iframe)\b[^>]*?(?:src|href)="([^,"]*)', page)
    sounds = 2 * len(list((tmp_path / "out" / "sounds").glob("*_target.wav")))
    assert sounds == 12
    kinds = [("img", "data:image/png;base64")] * 4 + [("audio", "data:audio/wav;base64")] * sounds
    assert loaded == kinds
    assert "default-src 'none'" in page
    for text in ("SimpleCNN", torch.__version__, "1 JND = 0.5 MIDI", "always the mean"):
        assert text in page
    target, rate_hz = soundfile.read(tmp_path / "out" / "sounds" / "0_target.wav")
    assert (len(target), rate_hz) == (8000, 8000)
    assert 0.1 < np.abs(target).max() <= 1.0


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_programs()), reason="apt-get install chromium chromium-driver")
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_in_a_browser(checkpoint, evaluated, tmp_path: Path, width: int) -> None:
    evaluated(checkpoint("avix_cnn_72dss_jnd_dg_hybrid"))
    with browser(tmp_path / "profile") as window:
        window.resize(width, 1000)
        window.open((tmp_path / "out" / "report.html").as_uri())
        window.wait_until("pictures", lambda: all(window.elements("img", "naturalWidth")))
        window.wait_until("sounds", lambda: window.elements("audio", "duration") == [1.0] * 12)
        assert window.requests() == []
        (shown,), (whole,) = (
            window.elements("html", side) for side in ("clientWidth", "scrollWidth")
        )
        assert whole <= shown  # wide tables scroll by themselves
        window.screenshot(tmp_path / "report.png")


def test_a_baseline_that_is_exact_sounds_exact(built) -> None:
    """On the 72-sample grid the nearest image has the very decay, only the velocity may differ."""
    grid = built("experiment=avix_cnn_72dss_jnd_dg_hybrid")
    found = evaluate_split(grid, "test", sounds=3, resamples=5, seed=0)
    assert found.num_sounds == 3 < len(found.found)
    assert found.distances["nearest image"]["sound_transport"].max() < 0.01
    assert found.distances["nearest image"]["sound_envelope"].min() == pytest.approx(1.0, abs=1e-6)
    assert found.distances["always the mean"]["sound_mss"].min() > 0.1


def test_refined_sounds_stand_beside_the_network(checkpoint, evaluated, tmp_path: Path) -> None:
    path = checkpoint("avix_cnn_72dss_jnd_dg_hybrid")
    content, report, _ = evaluated(path, "refine=true", "limit=2")
    found = content["evaluation"]["refining"]
    methods = ["network", "refined", "random start + refined", "always the mean", "nearest image",
               "least squares (aux)", "3 neighbours (aux)"]  # fmt: skip
    assert list(found["methods"]) == methods
    assert found["num_sounds"] == 2
    assert found["converged"]["refined"] == sum(s["converged"] for s in found["sounds"]["refined"])
    for aided, unaided in zip(*found["sounds"].values(), strict=True):
        assert unaided["start"] == {}
        assert aided["start"].keys() == {"note_velocity", "log10_decay_time"}
        if aided["converged"]:
            assert aided["residual_db"] < -12
        else:
            assert aided["values"] == aided["start"]
    errors = {method: own["mae_jnd"]["value"] for method, own in found["methods"].items()}
    if found["converged"]["refined"] == 2:
        assert errors["refined"] < 0.1 < errors["network"]
    assert "## Refined" in report
    assert f"| refined | {found['converged']['refined']} of 2 |" in report
    assert {path.name for path in (tmp_path / "out" / "sounds").iterdir()} == {
        f"{k}_{kind}.wav" for k in range(2) for kind in ("target", "network", "refined")
    }
    assert (tmp_path / "out" / "report.html").read_text().count("<audio") == 6
    with pytest.raises(ConfigError, match="was not synthesised"):
        evaluated(checkpoint("digits_cnn"), "refine=true")


def test_classes_have_confusions_and_no_sounds(checkpoint, evaluated, tmp_path: Path) -> None:
    content, report, _ = evaluated(checkpoint("digits_cnn"))
    found = content["evaluation"]
    assert list(found["methods"]) == ["network", "most frequent class", "nearest image"]
    assert list(found["figures"]) == ["digit_acc"]
    assert found["num_sounds"] == 0
    counts = np.array(found["confusion"]["digit"]["counts"])
    assert counts.sum() == found["num_samples"]
    assert counts.trace() / counts.sum() == pytest.approx(content["metrics"]["test/digit_acc"])
    assert pictures(report, tmp_path / "out") == ["0_digit.png", "worst.png"]
    assert "| true | taken for | samples |" in report
    assert "- Not better than nearest image in any figure (1)." in report
    assert "## Sound" not in report


def test_predictions_that_are_nan(checkpoint, evaluated) -> None:
    path = checkpoint("vimh_cnn", "loss=dg", spoil=True)
    content, report, _ = evaluated(path)
    network = content["evaluation"]["methods"]["network"]
    # JSON has no NaN.
    assert {network[name]["value"] for name in ("note_velocity_mae", *SOUND)} == {None}
    assert content["metrics"]["test/note_velocity_mae"] is None
    assert network["jnd"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "Not better than always the mean in any figure" in report


@pytest.mark.slow
def test_the_validation_split_and_no_sounds(checkpoint, evaluated) -> None:
    path = checkpoint("vimh_cnn")
    content, report, _ = evaluated(path, "split=val", "report.sounds=0")
    assert content["evaluation"]["num_samples"] == content["num_samples"]["val"]
    assert content["evaluation"]["num_sounds"] == 0
    assert "The checkpoint was selected on these samples" in report
    with pytest.raises(ConfigError, match="split=val has no samples"):
        evaluated(path, "split=val", "data.train_val_test_split=[0.5,0,0.5]")


@pytest.mark.slow
def test_samples_that_a_limit_leaves_out_are_in_no_figure(checkpoint, evaluated, capsys) -> None:
    limits = ("data.batch_size=4", "++trainer.limit_test_batches=1")
    content, report, _ = evaluated(checkpoint("avix_cnn_72dss_jnd"), *limits)
    assert content["evaluation"]["num_samples"] == 4
    assert content["num_measured"] == {"test": 4}
    assert content["num_samples"]["test"] == 7
    network = content["evaluation"]["methods"]["network"]
    for name in ("mae_jnd", "log10_decay_time_mae"):
        assert network[name]["value"] == pytest.approx(content["metrics"][f"test/{name}"], rel=1e-5)
    assert "| samples | 4 of 7 test samples |" in report
    assert "the first 4 are measured" in report
    assert "4 of 7 test samples of" in capsys.readouterr().out


def test_figures_of_one_name_are_refused() -> None:
    half = Parameter("half", 0.0, 1.0, 0.1)
    other = Parameter("pitch", 0.0, 1.0, 0.1)
    figures = [*figures_of(half), *figures_of(other), *joint_figures([half, other])]
    with pytest.raises(ConfigError, match=r"'half' and 'all parameters' .*called 'half_jnd'"):
        refuse_collisions(figures)
    refuse_collisions([*figures_of(other), *joint_figures([other, other])])


@pytest.fixture
def built(compose_config, data_root: Path):
    def made(*overrides: str):
        torch.manual_seed(1)
        return build(shrink(compose_config("train", *overrides), data_root))

    return made


def test_one_sample_and_fewer_sounds_than_samples(built) -> None:
    model = built("experiment=vimh_cnn", "data.train_val_test_split=[0.8,0.19,0.01]")
    alone = evaluate_split(model, "test", sounds=5, resamples=20, seed=0)
    assert (len(alone.found), alone.num_sounds) == (1, 1)
    some = evaluate_split(model, "val", sounds=5, resamples=20, seed=0)
    assert (len(some.found), some.num_sounds) == (14, 5)
    again = evaluate_split(model, "val", sounds=5, resamples=20, seed=0)
    for name, column in some.distances["network"].items():
        np.testing.assert_array_equal(column, again.distances["network"][name])


def test_numbers_out_of_range(built) -> None:
    model = built("experiment=vimh_cnn")
    for wrong in ({"sounds": -1}, {"resamples": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            evaluate_split(model, "test", **{"sounds": 1, "resamples": 1, "seed": 0, **wrong})


def test_noise_of_a_recipe_is_on_neither_side(built, compose_config, data_root: Path) -> None:
    """The truth resynthesised is the target itself, though the recipe adds noise to its sounds."""
    noisy = built("experiment=simple_noisy_cnn_hybrid")
    found = evaluate_split(noisy, "test", sounds=4, resamples=5, seed=0)
    assert found.metadata.recipe["noise"]["snr_min_db"] == 20
    decay = [p.name for p in found.parameters].index("log10_decay_time")
    assert found.found.true[:, decay].std() > 0.1
    from src.synth.resynthesis import synthesizer_of

    synthesizer = synthesizer_of(found.metadata)
    same = sound_distances(
        synthesizer, found.parameters, found.found.true[:2], {"x": found.found.true[:2]}
    )
    assert same["x"]["sound_mss"].tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_the_command_line_ends_with_the_report(
    checkpoint, project_root, data_root, tmp_path
) -> None:
    done = subprocess.run(
        [
            *(
                sys.executable,
                "src/eval.py",
                f"ckpt_path={checkpoint('avix_cnn_72dss_jnd_dg_hybrid')}",
            ),
            *(f"paths.vimh_dir={data_root}", f"paths.log_dir={tmp_path}"),
            *("extras.print_config=false", "trainer=cpu"),
        ],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=True,
    )
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("Report:")
    folder = Path(last.removeprefix("Report:").strip()).parent
    assert {"report.html", "report.md", "metrics.json", "pictures", "sounds"} <= {
        path.name for path in folder.iterdir()
    }
