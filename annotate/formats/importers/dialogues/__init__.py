"""Prompts, demonstrations and pairs of whole chats."""
