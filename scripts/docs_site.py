"""What `mkdocs.yml` needs besides docs/: pages of the root, the zoo's cards, src/'s reference.

mkdocs calls the functions `on_...` while it builds (its hooks).
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Pages of the root by their names in the site.
PAGES = {
    "README.md": "project/readme_page.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
CARDS = [f"zoo/{path.name}" for path in sorted((ROOT / "zoo").glob("*.md"))]
PLACES = PAGES | {card: card for card in CARDS}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def rooms() -> dict[str, list[str]]:
    """Return the modules of each room of src/ by its name; "src" has those of the entry points."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = ".".join(parts[:2]) if len(parts) > 2 else "src"
        if parts[-1] != "__init__":
            found.setdefault(room, []).append(".".join(parts))
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the made pages to the navigation."""
    project = next(entry["Project"] for entry in config.nav if "Project" in entry)
    project += list(PAGES.values())
    config.nav.append({"Zoo": CARDS})
    config.nav.append({"Reference": [{room: f"reference/{room}.md"} for room in rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root and the zoo, and one for each room of src/."""
    for name, place in PLACES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    for room, modules in rooms().items():
        sections = "\n".join(f"::: {module}\n" for module in modules)
        text = f"# {room}\n\n{sections}"
        files.append(File.generated(config, f"reference/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the pages lie in the site; what is not there is named without a link."""
    if page.file.src_uri.startswith("reference/"):
        return markdown
    of_root = page.file.src_uri in PLACES.values()
    if of_root:
        markdown = markdown.replace("](docs/images/", "](../images/")

    def there(found: re.Match[str]) -> str:
        label, path, anchor = found[1], found[2], found[3] or ""
        if "://" in path or path.startswith("mailto:"):
            return found[0]
        if of_root:
            inside = path.removeprefix("docs/") if path.startswith("docs/") else None
            other = PLACES.get(path)
            target = f"../{inside}" if inside else f"../{other}" if other else None
        else:
            outside = path.removeprefix("../") if path.startswith("../") else None
            target = PLACES.get(outside) if outside else path
        return f"[{label}]({target}{anchor})" if target else label

    return LINK.sub(there, markdown)
