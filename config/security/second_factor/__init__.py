"""Two-step sign-in: a code of an authenticator app, or a recovery code, after the password.

rules.py    who needs it, how secrets are stored, how many codes may be tried
stage.py    the step of the sign-in, and the middleware that sends people to set it up
pages.py    the pages

The codes, their storage and the steps of the sign-in are django-allauth's; its pages are not used. They would load
what security keys need (11 MB) into every web process.
"""
