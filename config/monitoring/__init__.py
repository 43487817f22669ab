"""Watching the site itself: /metrics, log lines with request and run ids, reports of errors."""
