"""Faust's JSON of a user interface, read as controls. Needs no Faust."""

import contextlib
import random

import pytest

from src.synth.engines.control import Control
from src.synth.engines.engine import EngineError
from src.synth.engines.faust_panel import Item, Range, read_panel, short_names

MENU = "menu{'saw':0;'two words':1.5;'x, y':2}"


def item(kind: str, address: str, label: str | None = None, **meta: str) -> Item:
    """A control as in the JSON; the label is the address's end unless given."""
    entry: Item = {"type": kind, "label": label or address.rpartition("/")[2], "address": address}
    if meta:
        entry["meta"] = [{key: text} for key, text in meta.items()]
    return entry


def controls(*items: Item, ranges: dict[str, Range] | None = None) -> list[Control]:
    """What is read of the items in a group, each slider from 1 to 3 at 2 unless said otherwise."""
    sliders = {x["address"]: Range(2.0, 1.0, 3.0) for x in items}
    ui: list[Item] = [{"type": "vgroup", "label": "p", "items": list(items)}]
    return [slot.control for slot in read_panel(ui, sliders | (ranges or {})).slots]


def test_a_slider_with_all_that_metadata_can_say() -> None:
    meta = {"unit": "Hz", "scale": "log", "jnd": "0.03", "tooltip": "of the\n   filter"}
    (found,) = controls(item("hslider", "/p/cutoff", **meta))
    assert found == Control(
        *("cutoff", 1.0, 3.0, 2.0, "Hz", "log"), step=0.03, description="of the filter"
    )


@pytest.mark.parametrize("kind", ["hslider", "vslider", "nentry"])
def test_a_number_without_metadata_is_linear_and_has_no_step(kind: str) -> None:
    (found,) = controls(item(kind, "/p/level"))
    assert (found.spacing, found.step, found.class_names, found.unit) == ("linear", None, (), "")


def test_a_logarithm_of_what_may_be_zero_is_linear_and_says_so() -> None:
    (found,) = controls(
        item("hslider", "/p/time", scale="log"), ranges={"/p/time": Range(0.5, 0.0, 1.0)}
    )
    assert found.spacing == "linear"
    assert found.description == "(scale:log needs a positive minimum)"


@pytest.mark.parametrize("style", ["menu", "radio"])
def test_menus_and_radio_buttons_are_classes_that_send_their_values(style: str) -> None:
    entry = item("nentry", "/p/wave", style=MENU.replace("menu", style))
    panel = read_panel([entry], {"/p/wave": Range(1.4, 0.0, 2.0)})
    (slot,) = panel.slots
    assert slot.values == (0.0, 1.5, 2.0)
    assert slot.control.class_names == ("saw", "two words", "x, y")
    assert (slot.control.min, slot.control.max) == (0.0, 2.0)  # indices, not values
    assert slot.control.default == 1.0  # the class whose value is nearest to 1.4


def test_a_check_box_is_off_or_on() -> None:
    (found,) = controls(item("checkbox", "/p/bypass"))
    assert (found.class_names, found.default) == (("off", "on"), 0.0)


def test_a_knob_is_no_menu() -> None:
    (found,) = controls(item("vslider", "/p/q", style="knob"))
    assert found.class_names == ()


def test_bargraphs_are_left_out() -> None:
    assert controls(item("hbargraph", "/p/level"), item("vbargraph", "/p/meter")) == []


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"style": "menu{'a':1;b:1}"}, "expected {'name':value"),
        ({"style": "menu{'a':zero}"}, "expected {'name':value"),
        ({"style": "menu{'a':nan}"}, "expected {'name':value"),
        ({"style": "menu{}"}, "is empty"),
        ({"style": "menu{'a':1;'b':7}"}, "sends 7 for 'b'; expected 1 to 3"),
        ({"jnd": "small"}, "[jnd:small] of wave; expected a positive number"),
        ({"jnd": "0"}, "[jnd:0] of wave; expected a positive number"),
        ({"jnd": "inf"}, "[jnd:inf] of wave"),
    ],
)
def test_metadata_that_does_not_say_what_it_should_is_refused(
    meta: dict[str, str], says: str
) -> None:
    with pytest.raises(EngineError) as refused:
        controls(item("nentry", "/p/wave", **meta))
    assert says in str(refused.value)


def test_sound_files_are_refused() -> None:
    with pytest.raises(EngineError, match="plays sound files"):
        controls(item("soundfile", "/p/drums"))


# -- the note


def test_freq_gain_and_gate_are_the_notes_in_any_group() -> None:
    entries = [item("hslider", f"/p/note/{name}") for name in ("freq", "gain", "cutoff")]
    panel = read_panel(
        [*entries, item("button", "/p/note/gate")],
        dict.fromkeys((x["address"] for x in entries), Range(2.0, 1.0, 3.0)),
    )
    assert panel.pressed == ("/p/note/gate",)
    assert {s.control.name: s.control.of_note for s in panel.slots} == {
        "freq": True,
        "gain": True,
        "cutoff": False,
    }


def test_without_a_gate_freq_is_a_parameter_as_any_other() -> None:
    assert not controls(item("hslider", "/p/freq"))[0].of_note


def test_without_a_gate_every_button_is_pressed_and_with_one_no_other() -> None:
    buttons = [item("button", "/p/pluck"), item("button", "/p/strike")]
    assert read_panel(buttons, {}).pressed == ("/p/pluck", "/p/strike")
    assert read_panel([*buttons, item("checkbox", "/p/gate")], {}).pressed == ("/p/gate",)


# -- names


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        (["/p/a", "/p/b"], ["a", "b"]),
        (["/p/x/a", "/p/y/a"], ["x_a", "y_a"]),
        (["/p/x/g/a", "/p/y/g/a", "/p/g/b"], ["x_g_a", "y_g_a", "b"]),
        (["/p/a", "/p/x/a"], ["p_a", "x_a"]),
        (["/p/Filter Q [dB]"], ["Filter_Q_dB"]),
        (["/p/0x00/a", "/p/0x00"], ["a", "p"]),
        (["/p/1st"], ["p_1st"]),
        (["/1/2"], ["control_1_2"]),
        (["/0x00"], ["control"]),
        (["/p/a.b", "/p/a b"], ["p_a_b", "p_a_b_2"]),
        (["/p/a_b", "/p/a/b", "/q/b"], ["p_a_b", "p_a_b_2", "q_b"]),
    ],
)
def test_names_are_the_shortest_that_tell_controls_apart(
    addresses: list[str], names: list[str]
) -> None:
    assert short_names(addresses) == names


def test_names_of_any_labels_are_different_keys() -> None:
    rng = random.Random(0)
    pieces = ["a", "b", "a_b", "0x00", "1", "é ü", "x.y", "", "_", "a_2", "--"]
    for _ in range(3000):
        count = rng.randint(1, 8)
        addresses = {
            "/" + "/".join(rng.choice(pieces) for _ in range(rng.randint(1, 4)))
            for _ in range(count)
        }
        names = short_names(sorted(addresses))
        assert len(set(names)) == len(addresses)
        assert all(name.isidentifier() for name in names), (addresses, names)


def test_any_metadata_is_read_or_refused() -> None:
    rng, read = random.Random(1), 0
    letters = "menu{}radio'':;0123456789.-e[]\\ \n\té"
    for _ in range(3000):
        style = "".join(rng.choice(letters) for _ in range(rng.randint(0, 12)))
        style = rng.choice(["", "menu{", "radio{'a':"]) + style + rng.choice(["", "}"])
        meta = {"style": style, "jnd": "".join(rng.choices("0123.e-x", k=rng.randint(1, 4)))}
        with contextlib.suppress(EngineError):
            (found,) = controls(item("nentry", "/p/x", **meta))
            read += 1
            assert found.min <= (found.default or 0.0) <= found.max
            assert found.step is None or found.step > 0
    assert read > 100
