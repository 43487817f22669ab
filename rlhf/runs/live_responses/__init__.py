"""Responses that people wait for in chats, from a process that keeps the policy loaded."""
