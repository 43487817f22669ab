"""The API of both packages in one: /api/v1, its document, its reference for people, and its errors."""
