"""Pages. A view fetches with permission, binds a form, makes one domain call and replies."""
