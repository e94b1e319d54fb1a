"""The renderer of templates."""

import time
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tinyci import __version__
from tinyci.model.job import is_id
from tinyci.web import text
from tinyci.web.assets import Assets
from tinyci.web.jobfacts import LABELS
from tinyci.web.listing import STATES


class Renderer:
    """Renders the templates beside this file."""

    def __init__(self, assets: Assets) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals |= {
            "asset": assets.path,
            "version": __version__,
            "STATES": STATES,
            "LABELS": LABELS,
            "utc": text.utc,
            "iso": text.iso,
            "took": text.took,
            "is_id": is_id,
        }

    def html(self, template: str, path: str, **values: Any) -> str:
        """Render a page; its links begin from the path of the request."""
        now = time.time()
        return self._templates.get_template(template).render(
            root=root(path), now=now, ago=lambda seconds: text.ago(seconds, now), **values
        )


def root(path: str) -> str:
    """The relative URL of the first page: a proxy may have all pages under a path of its own."""
    return "../" * (path.count("/") - 1) or "./"
