"""Brings results of `mvae-tf reproduce` into RESULTS.md and docs/results/.

    python scripts/write_results.py results/reduced

Between `<!-- begin NAME -->` and `<!-- end NAME -->`, RESULTS.md has what the command
wrote of a table or a figure. This replaces it by what is in the folder now, and copies
its numbers (CSV) and pictures (PNG). Names that the folder lacks are left alone.
"""

import argparse
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "RESULTS.md"
FILES = ROOT / "docs" / "results"

_BLOCK = re.compile(r"<!-- begin (\S+) -->\n.*?<!-- end \1 -->", re.DOTALL)


def main():
    """Rewrites the page from the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="DIR/SCALE of `mvae-tf reproduce`")
    folder = parser.parse_args().folder
    FILES.mkdir(parents=True, exist_ok=True)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        _BLOCK.sub(lambda match: _block(folder, match), text), encoding="utf-8"
    )


def _block(folder, match):
    name = match[1]
    source = folder / f"{name}.md"
    if not source.is_file():
        print(f"left alone: {name}")
        return match[0]
    text = source.read_text(encoding="utf-8")
    # The page has headings of its own.
    body = text[text.index("```bash") :].strip()
    pictures = sorted(folder.glob(f"{name}.png")) + sorted(folder.glob(f"{name}-*.png"))
    for path in [*folder.glob(f"{name}.csv"), *pictures]:
        shutil.copyfile(path, FILES / path.name)
    links = [f"![{p.stem}](docs/results/{p.name})" for p in pictures]
    content = "\n\n".join([*links, body])
    return f"<!-- begin {name} -->\n{content}\n<!-- end {name} -->"


if __name__ == "__main__":
    main()
