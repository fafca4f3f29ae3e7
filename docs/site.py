"""What the site needs besides docs/: the README as its first page, and what is published.

Links are written as they work in the repository, and changed here to where the site has the files.
"""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PUBLISHED = ("*.png", "*.csv", "*.md", "*.html")


def on_files(files, config):
    """Add the README and the published results to the pages."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text()))
    for pattern in PUBLISHED:
        for path in sorted((ROOT / "results").glob(f"*/{pattern}")):
            place = path.relative_to(ROOT).as_posix()
            files.append(File(place, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, **_):
    """Links out of docs/ lead to the same files, which lie elsewhere in the site."""
    if page.file.src_uri == "index.md":
        return re.sub(r"\]\(docs/", "](", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+results/", f"]({_up(page)}results/", markdown)
    return re.sub(r"\[([^]]*)\]\(\.\./[^)]*\)", r"\1", markdown)  # code is not in the site


def _up(page) -> str:
    """From a page to the root of the site."""
    return "../" * page.file.src_uri.count("/")
