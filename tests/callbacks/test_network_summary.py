"""The table that a run begins with: the network's parts, and nothing of what is around it."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from torch import nn

from src.callbacks.network_summary import NetworkSummary
from src.models.components.simple_cnn import SimpleCNN
from src.models.multihead_module import MultiheadLitModule
from tests.callbacks.fakes import trainer


def printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    depth: int = 2,
    columns: int = 100,
) -> str:
    console = Console(width=columns, record=True)
    monkeypatch.setattr("src.callbacks.network_summary.get_console", lambda: console)
    NetworkSummary(max_depth=depth).on_fit_start(trainer(tmp_path), module)
    return console.export_text()


def cnn_module(**arguments: Any) -> MultiheadLitModule:
    net = SimpleCNN(
        input_channels=3, conv1_channels=4, conv2_channels=8, fc_hidden=10, input_size=32,
        heads_config={"pitch": 24, "level": 3}, auxiliary_input_size=2,
    )  # fmt: skip
    criteria = {name: nn.CrossEntropyLoss() for name in ("pitch", "level")}
    return MultiheadLitModule(net, criteria=criteria, **arguments)


def test_parts_of_the_network_with_the_sizes_of_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(tmp_path, monkeypatch, cnn_module())
    rows = {cells[0]: cells[1:] for cells in map(cells_of, text.splitlines()) if len(cells) == 5}
    assert list(rows) == ["net", "net.block1", "net.block2", "net.hidden", "net.heads"]
    assert rows["net"][:2] == ["SimpleCNN", "3×32×32, 2"]
    assert rows["net.block1"][1:3] == ["3×32×32", "4×16×16"]
    assert rows["net.block2"][1:3] == ["4×16×16", "8×8×8"]
    assert rows["net.heads"][1] == "10, 2"
    weights = sum(p.numel() for p in cnn_module().parameters())
    assert f"{weights / 1000:.1f} K weights" in text


def test_a_narrow_terminal_cuts_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(tmp_path, monkeypatch, cnn_module(), columns=50)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 50
    for figure in ("SimpleCNN", "3×32×32, 2", "4×16×16", "8×8×8", "10, 2"):
        assert figure in text


def test_a_compiled_network_is_not_run_for_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(tmp_path, monkeypatch, cnn_module(compile=True))
    assert "net.block1" in text
    assert "×" not in text


def test_the_summary_leaves_the_module_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = cnn_module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.net.block1.eval()
    printed(tmp_path, monkeypatch, module)
    assert module.net.training
    assert not module.net.block1.training
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]
