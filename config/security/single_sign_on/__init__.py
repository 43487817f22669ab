"""Sign-in through an OpenID Connect provider, where HONE_OIDC_ISSUER names one (docs/operations.md).

django-allauth talks to the provider. Who may come in is decided here, by `provider_accounts.py`.
"""
