"""Exports of annotation tools and chat interfaces."""
