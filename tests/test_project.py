"""The project's own papers: targets, links, changelog, sizes, and house rules."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jaxtyping
import pytest
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import makefile_docs  # noqa: E402 - a script, not a package

MAX_FILE_BYTES = 1_000_000
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
RULE = re.compile(r"^([a-z0-9][\w -]*):(?![=:])(.*)$")
# Rules that others use and nobody types.
INTERNAL_RULES = {"lint"}


def tracked_files() -> list[Path]:
    """Files in git, or every file where this is no checkout (an unpacked archive)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def python_sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


# ------------------------------------------------------------------------------------- Makefile


def rules_without_text(text: str) -> list[str]:
    """Rules of a makefile that have no `##` text and are neither internal nor files."""
    found = []
    for line in text.splitlines():
        match = RULE.match(line)
        if match and "##" not in match[2] and match[1] not in INTERNAL_RULES:
            found.append(match[1])
    return found


def test_every_rule_has_a_text() -> None:
    for path in makefile_docs.makefiles():
        assert rules_without_text(path.read_text(encoding="utf-8")) == [], path.name
    assert rules_without_text("x exp-x: dep\n\tcmd\ny: ## text\nA := 1\n") == ["x exp-x"]


def test_every_target_has_a_short_and_a_long_name() -> None:
    for target in makefile_docs.targets():
        assert len(target.names) >= 2, target
        assert min(map(len, target.names)) < max(map(len, target.names)), target


def test_no_name_is_used_twice() -> None:
    names = [name for target in makefile_docs.targets() for name in target.names]
    assert sorted(names) == sorted(set(names))


def test_help_lists_every_target() -> None:
    text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in makefile_docs.targets():
        assert f"  {' '.join(target.names)} " in text, target.names


def test_the_generated_page_is_current() -> None:
    page = (ROOT / "docs" / "makefile.md").read_text(encoding="utf-8")
    assert page == makefile_docs.render(), "run `make makefile-docs`"


def experiments_in_makefiles() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in makefile_docs.makefiles())
    return set(re.findall(r"experiment=([a-z0-9_]+)", text))


def test_every_experiment_of_a_target_exists() -> None:
    assert experiments_in_makefiles()
    there = {path.stem for path in (ROOT / "configs" / "experiment").glob("*.yaml")}
    assert experiments_in_makefiles() - there == set()


def test_make_does_not_need_a_newer_make_than_3_81() -> None:
    """Features of make 3.82 and later that macOS' make does not know."""
    newer = re.compile(r"^\.ONESHELL|^\.RECIPEPREFIX|\$\(file |!=|^define \w+ *[:+?]?=|^private ")
    for path in makefile_docs.makefiles():
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("\t"):
                assert not newer.search(line), f"{path.name}: {line}"


# ------------------------------------------------------------------------------- documents


def broken_links(path: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere, anchors included."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for match in LINK.finditer(text):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def anchors(path: Path) -> set[str]:
    """Anchors that GitHub gives to the headings of a Markdown file."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return set(slugs)


def test_links_in_documents_resolve() -> None:
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    assert documents
    broken = {str(path.relative_to(ROOT)): broken_links(path) for path in documents}
    assert {name: links for name, links in broken.items() if links} == {}


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](page.md#a-heading) [b](none.md) ![c](no.png) [d](#other)")
    assert broken_links(page) == ["none.md", "no.png", "#other"]


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def changelog_faults(text: str) -> list[str]:
    """What in a changelog is not in the manner of Keep a Changelog 1.1.0."""
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    faults = [] if text.startswith("# Changelog\n") else ["title"]
    releases = re.findall(r"^## (.+)$", text, re.MULTILINE)
    if not releases or releases[0] != "[Unreleased]":
        faults.append("no [Unreleased] first")
    release = re.compile(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}")
    faults += [name for name in releases[1:] if not release.fullmatch(name)]
    faults += [kind for kind in re.findall(r"^### (.+)$", text, re.MULTILINE) if kind not in kinds]
    return faults


def test_changelog_keeps_its_format() -> None:
    assert changelog_faults((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")) == []
    wrong = "# Changes\n## [1.0.0] - June\n### New\n"
    assert len(changelog_faults(wrong)) == 3


# -------------------------------------------------------------------------- files and settings


def test_no_large_file_is_in_git() -> None:
    large = [path for path in tracked_files() if path.stat().st_size > MAX_FILE_BYTES]
    assert large == []


def test_types_and_shapes_are_checked_in_tests() -> None:
    from src.synth.spectrogram import periodic_window

    with pytest.raises(jaxtyping.TypeCheckError):
        periodic_window("hann", "four")  # type: ignore[arg-type]


def test_requirements_pin_every_dependency() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []
    pinned = {normal(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {normal(re.split(r"[<>=]", text)[0]) for text in project["dependencies"]}
    assert needed - pinned == set()


def normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_settings_files_can_be_read() -> None:
    json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))
    for path in [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]:
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path


def test_workflows_pin_their_actions_and_ask_for_little() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}, path.name
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", action), action


# -------------------------------------------------------------------------------- house rules


def broken_rules(source: str) -> list[str]:
    """House rules (style.md) that a parser can see, broken in a source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"hasattr", "eval", "exec", "compile", "__import__"}:
                found.append(f"{node.lineno}: {node.func.id}")
        elif isinstance(node, ast.Call) and (unsafe := unsafe_call(node)):
            found.append(f"{node.lineno}: {unsafe}")
        elif isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            if caught in {"Exception", "BaseException", "everything"} and not reraises(node):
                found.append(f"{node.lineno}: except {caught}")
        elif (
            isinstance(node, ast.keyword)
            and node.arg == "weights_only"
            and ast.unparse(node.value) != "True"
        ):
            found.append(f"{node.value.lineno}: weights_only")
    return sorted(found)


def unsafe_call(node: ast.Call) -> str | None:
    """A call that runs what a file or a user's text says."""
    name, given = ast.unparse(node.func), {keyword.arg for keyword in node.keywords}
    if name in {"os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler"}:
        return name
    if name in {"torch.load", "jit.load", "torch.jit.load"} and "weights_only" not in given:
        return f"{name} without weights_only"
    if name.endswith("yaml.load") or (name.endswith("np.load") and "allow_pickle" in given):
        return name
    return "shell" if "shell" in given else None


def reraises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler ends by raising: it cleans up and hides nothing."""
    return isinstance(handler.body[-1], ast.Raise)


@pytest.mark.parametrize(
    "path",
    [*python_sources("src"), *sorted(ROOT.glob("*.py"))],
    ids=lambda path: path.stem,
)
def test_house_rules(path: Path) -> None:
    assert broken_rules(path.read_text(encoding="utf-8")) == []


def test_sweeps_run_nothing_that_a_text_says() -> None:
    for path in python_sources("hydra_plugins"):
        broken = broken_rules(path.read_text(encoding="utf-8"))
        # A trial's exception is the trial's failure, whatever it is.
        assert [fault for fault in broken if "except" not in fault] == [], path.name


def test_house_rules_find_what_they_are_for() -> None:
    source = (
        "hasattr(a, 'b')\n"
        "try:\n    pass\nexcept Exception:\n    pass\n"
        "try:\n    pass\nexcept BaseException:\n    clean()\n    raise\n"
        "torch.load(p, weights_only=False)\n"
        "torch.load(p)\npickle.load(f)\nos.system(t)\nsubprocess.run(t, shell=True)\n"
    )
    found = {fault.split(": ")[1] for fault in broken_rules(source)}
    assert found == {
        *("hasattr", "except Exception", "weights_only", "torch.load without weights_only"),
        *("pickle.load", "os.system", "shell"),
    }


@pytest.mark.parametrize("path", python_sources("src"), ids=lambda path: path.stem)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


def wide_prose(text: str) -> list[int]:
    """Lines of more than 100 columns that are no table, picture, address or listing."""
    wide, in_listing = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        begin = line.lstrip()
        in_listing ^= begin.startswith("```")
        is_prose = not (in_listing or begin.startswith(("|", "!", "<", "#", ">", "    ")))
        if is_prose and "http" not in line and len(line) > 100:
            wide.append(number)
    return wide


# docs/results.md is written by benchmarks/suite.py.
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {ROOT / "docs/results.md"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_is_at_most_100_wide(page: Path) -> None:
    assert wide_prose(page.read_text(encoding="utf-8")) == []
    assert wide_prose("x" * 101 + "\n```\n" + "x" * 101 + "\n```\n| " + "x" * 101) == [1]
