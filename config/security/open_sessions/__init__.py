"""Where a person is signed in: device, address, last seen; and signing out there.

django-allauth's own app for this writes at every request or never, and a labeler's request has no query to spare.
"""
