"""Style sheets and scripts as they are served: compressed, named by their content, kept by browsers for ever."""

import re
from collections.abc import Callable
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage

MODULE_FOLDERS = ("hone/", "vendor/diff/")
IMPORT = r"""(?P<matched>\b(?P<keyword>from|import) ['"](?P<url>\.\.?/[^'"]+)['"];)"""
REWRITTEN_IMPORT = """%(keyword)s "%(url)s";"""


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Rewrites `import ... from "./x.js"` to the name by content too.

    An import map would do the same, but as an inline script it would need an exception in the content security policy.
    Django's `support_js_module_import_aggregation` reads the scripts of every package, and fails for words in comments.
    """

    patterns = (*CompressedManifestStaticFilesStorage.patterns, ("*.js", ((IMPORT, REWRITTEN_IMPORT),)))

    def url_converter(
        self, name: str, hashed_files: dict[str, str], template: str | None = None
    ) -> Callable[[re.Match[str]], str]:
        if template == REWRITTEN_IMPORT and not name.startswith(MODULE_FOLDERS):
            return lambda match: match["matched"]
        converter: Callable[[Any], str] = super().url_converter(name, hashed_files, template)
        return converter
