"""Pictures and tables of the model configs."""

from pathlib import Path

import pytest

from src.models.components import ConvNeXtV2, SimpleEfficientNet, VisionTransformer
from tests.configs.test_model_sizes import DATA, NAMES
from viz import enhanced_model_diagrams, simple_model_diagram
from viz.layout import Picture, arrange
from viz.networks import IMPORTED, build_configured, data_of, model_names
from viz.render import lines_of, places_of
from viz.trace import trace

HEADS = {"heads_config": {"a": 3, "b": 24}}


def test_all_models_and_no_parts_are_listed(capsys):
    simple_model_diagram.main(["--list-configs"])
    assert capsys.readouterr().out.split() == NAMES == model_names()
    enhanced_model_diagrams.main(["--list-configs"])
    assert capsys.readouterr().out.split() == NAMES


def test_imported_sets_are_described_as_they_are():
    assert {
        name: shape_and_heads for name, shape_and_heads in DATA.items() if name in IMPORTED
    } == (IMPORTED)
    assert {data_of(name) for name in NAMES} <= IMPORTED.keys() | {"avix_72dss", "vimh"}


def test_shapes_come_from_the_recipe_and_no_set_is_made(capsys):
    configured = build_configured("avix_cnn_64k_jnd_dg_hybrid", "vimh_simple_noisy")
    assert configured.network.image_shape == (1, 64, 64)
    assert list(configured.network.heads_config) == [
        "note_number",
        "note_velocity",
        "log10_decay_time",
    ]
    configured = build_configured("avix_cnn_64k_jnd_dg_hybrid", "avix_72dss_features")
    assert configured.network.image_shape == (3, 32, 32)
    assert configured.network.heads.auxiliary_input_size == 5


def test_the_table_has_every_layer_and_the_totals(capsys):
    simple_model_diagram.main(["--config", "avix_cnn_64k"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "avix_cnn_64k: SimpleCNN on data=avix_72dss"
    (convolution,) = (line.split() for line in lines if line.startswith("block1.0"))
    assert convolution == ["block1.0", "Conv2d", "1→16,", "3×3", "16×32×32", "144", "147,456"]
    assert lines[-1].split() == ["total", "63,787", "1,385,960"]
    (second,) = (line for line in lines if "head_log10_decay_time" in line)
    assert "of hidden.3" in second


def test_one_table_after_the_other(capsys):
    simple_model_diagram.main(["--config", "avix_cnn_11k", "mnist_sdn_8k"])
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert first.startswith("avix_cnn_11k: SimpleCNN on data=avix_72dss\n")
    assert second.startswith("mnist_sdn_8k: SimpleDenseNet on data=mnist\n")
    assert {table.splitlines()[-1].split()[0] for table in (first, second)} == {"total"}


@pytest.mark.parametrize("command", [simple_model_diagram.main, enhanced_model_diagrams.main])
def test_an_unknown_model_is_one_sentence(command):
    with pytest.raises(SystemExit, match="There is no model config 'avix_rnn'"):
        command(["-c", "avix_rnn"])


def test_pictures_are_written_and_have_their_text(tmp_path, capsys):
    enhanced_model_diagrams.main(["-c", "avix_cnn_11k", "-o", str(tmp_path)])
    svg, png = (Path(line) for line in capsys.readouterr().out.split())
    text = svg.read_text(encoding="utf-8")
    for word in ("Conv2d  1→8, 3×3", "note_velocity", "log10_decay_time", "11,019 parameters"):
        assert word in text
    assert png.read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again"
    enhanced_model_diagrams.main(["-c", "avix_cnn_11k", "-o", str(again)])
    assert (again / svg.name).read_bytes() == svg.read_bytes()  # nothing random, no date


@pytest.fixture(scope="module")
def pictures() -> dict[str, Picture]:
    networks = {
        "vit": VisionTransformer(embed_dim=16, n_layers=4, n_attention_heads=2, **HEADS),
        "convnext": ConvNeXtV2(depths=(3, 2), dims=(4, 8), stem_size=2, **HEADS),
        "efficientnet": SimpleEfficientNet(channels=(4, 8), depths=(1, 3), **HEADS),
    }
    return {name: arrange(trace(network)) for name, network in networks.items()}


def test_equal_blocks_in_a_row_are_drawn_once(pictures):
    assert list(pictures["vit"].repeats.values()) == [4]
    assert list(pictures["convnext"].repeats.values()) == [3, 2]
    # The first block of a stage halves the image, the others are equal.
    assert list(pictures["efficientnet"].repeats.values()) == [1, 1, 2]


def test_columns_are_the_parts_of_the_network(pictures):
    titles = {name: [c.title for c in picture.columns] for name, picture in pictures.items()}
    assert titles == {
        "vit": ["patches", "encoder", "norm", "heads"],
        "convnext": ["stem", "stage 1", "stage 2", "pool", "heads"],
        "efficientnet": ["stem", "stage 1", "stage 2", "pool", "heads"],
    }


@pytest.mark.parametrize("name", ["vit", "convnext", "efficientnet"])
def test_no_step_is_lost_but_those_of_repeated_blocks(name, pictures):
    picture = pictures[name]
    drawn = sum(len(box.steps) for box in picture.boxes)
    in_blocks = dict.fromkeys(picture.repeats, 0)
    for box in picture.boxes:
        if box.block is not None:
            in_blocks[box.block[1]] += len(box.steps)
    left_out = sum(in_blocks[n] * (count - 1) for n, count in picture.repeats.items())
    assert drawn + left_out == len(picture.trace.steps)
    assert [box.head for box in picture.boxes if box.head] == ["a", "b"]


@pytest.mark.parametrize("name", ["vit", "convnext", "efficientnet"])
def test_boxes_do_not_overlap(name, pictures):
    picture = pictures[name]
    places = places_of(picture)
    for column in picture.columns:
        for above, below in zip(column.boxes[:-1], column.boxes[1:], strict=True):
            assert places[below].top < places[above].bottom
    assert max(len(line) for box in picture.boxes for line in lines_of(box)) <= 34


@pytest.mark.slow
def test_every_model_config_has_a_picture(tmp_path):
    enhanced_model_diagrams.main(["-o", str(tmp_path)])
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(NAMES)
    assert {path.stem for path in tmp_path.glob("*.png")} == set(NAMES)
