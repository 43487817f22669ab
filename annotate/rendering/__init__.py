"""Untrusted text made safe to show."""

from annotate.rendering.markup import MAX_MARKDOWN_CHARACTERS, markdown, plain, storable

__all__ = ["MAX_MARKDOWN_CHARACTERS", "markdown", "plain", "storable"]
