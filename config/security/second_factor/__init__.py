"""Two-step sign-in: a code of an authenticator app, a security key, or a recovery code, after the password.

rules.py    who needs it, how secrets are stored, how many codes may be tried
stage.py    the step of the sign-in, and the middleware that sends people to set it up
pages.py    the pages
security_keys.py  keys and passkeys, where HONE_WEBAUTHN=1

The codes, their storage and the steps of the sign-in are django-allauth's; its pages are not used. They would load
what security keys need (11 MB) into every web process.
"""
