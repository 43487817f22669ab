"""The report of a reward model as a page: read from its run folder, worded in the reader's language, drawn as SVG."""
