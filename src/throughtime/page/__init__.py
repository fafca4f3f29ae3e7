"""A sweep as one HTML file that needs nothing but a browser: no server, no network."""

from throughtime.page.document import page

__all__ = ["page"]
