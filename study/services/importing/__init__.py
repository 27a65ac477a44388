"""Importing: from files to cases. See `import_paths`."""

from .importing import ImportReport, TooManyError, import_paths, pseudonym_key
from .previews import SIZES as PREVIEW_SIZES
from .previews import preview_png

__all__ = ["PREVIEW_SIZES", "ImportReport", "TooManyError", "import_paths", "preview_png", "pseudonym_key"]
