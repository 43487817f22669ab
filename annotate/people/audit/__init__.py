"""The audit log: who changed what, written with the change, sealed in a hash chain, read on a page and as a file."""

from annotate.people.audit.recording import record

__all__ = ["record"]
