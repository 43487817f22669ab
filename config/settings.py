"""Hone's settings: one file, every value from a typed environment variable, SQLite and an embedded broker by default.

docs/configuration.md lists the variables; a test keeps that list true.
"""

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from config.data_folder import private_files
from config.data_folder.secret_key import stored_secret_key
from config.environment import Environment, WrongSetting, refuse
from config.serving import broker

BASE_DIR = Path(__file__).resolve().parent.parent

private_files.keep_private()
try:
    env = Environment(os.environ)
    HONE_DATA = env.folder("HONE_DATA", default=BASE_DIR / "var")
    HONE_HOST = env.text(
        "HONE_HOST", default="127.0.0.1", pattern=r"[0-9A-Za-z.:\-\[\]]+", form="an address to listen on"
    )
    HONE_PORT = env.whole_number("HONE_PORT", default=8000, minimum=1, maximum=65535)
    HONE_WEB_THREADS = env.whole_number("HONE_WEB_THREADS", default=8, minimum=1, maximum=256)
    HONE_GPUS = env.whole_number("HONE_GPUS", default=0, minimum=0, maximum=64)
    HONE_GPUS_PER_WORKER = env.whole_number("HONE_GPUS_PER_WORKER", default=1, minimum=1, maximum=64)
    if HONE_GPUS % HONE_GPUS_PER_WORKER:
        raise WrongSetting(f"HONE_GPUS is {HONE_GPUS}; it must be a multiple of HONE_GPUS_PER_WORKER.")
    HONE_BASE_MODEL = env.text(
        "HONE_BASE_MODEL",
        default="smollm2-135m-instruct",
        pattern=r"[0-9A-Za-z._/\-]+",
        form="a catalogue name, a folder or a Hub id",
    )
    HONE_LIVE_DEVICE = env.choice("HONE_LIVE_DEVICE", default="auto", choices=["auto", "cpu", "cuda"])
    HONE_LIVE_IDLE = env.whole_number("HONE_LIVE_IDLE", default=900, minimum=1, maximum=86_400)
    HONE_IDLE_MINUTES = env.whole_number("HONE_IDLE_MINUTES", default=10, minimum=1, maximum=10_080)
    HONE_STALL_HOURS = env.whole_number("HONE_STALL_HOURS", default=24, minimum=1, maximum=8_760)
    HONE_RUNS_A_PROJECT = env.whole_number("HONE_RUNS_A_PROJECT", default=20, minimum=1, maximum=10_000)
    HONE_RUNS_A_SITE = env.whole_number("HONE_RUNS_A_SITE", default=100, minimum=1, maximum=100_000)
    HONE_RESERVED_DISK_GB = env.whole_number("HONE_RESERVED_DISK_GB", default=1, minimum=0, maximum=100_000)
    HONE_GATEWAY_REQUESTS = env.whole_number("HONE_GATEWAY_REQUESTS", default=16, minimum=1, maximum=256)
    HONE_ROLLOUT_SERVER = env.address_of_server("HONE_ROLLOUT_SERVER", example="http://gpu1:8000/v1")
    HONE_ROLLOUT_SERVER_FOLDER = env.text("HONE_ROLLOUT_SERVER_FOLDER", default="", pattern=r"(/.+)?", form="a path")
    HONE_AI_ENDPOINTS = env.endpoints("HONE_AI_ENDPOINTS")
    HONE_TRACKERS = env.choices("HONE_TRACKERS", choices=["tensorboard", "wandb", "mlflow"])
    HONE_MODEL_FOLDERS = env.folders("HONE_MODEL_FOLDERS")
    HONE_ARTEFACTS = env.bucket("HONE_ARTEFACTS")
    env.needs_package("HONE_ARTEFACTS", package="boto3", extra="s3")
    HONE_PRIVATE_WEBHOOKS = env.flag("HONE_PRIVATE_WEBHOOKS", default=False)
    email = env.email("HONE_EMAIL_URL")
    DEFAULT_FROM_EMAIL = env.text(
        "HONE_EMAIL_FROM", default="hone@localhost", pattern=r"[^\s]+@[^\s]+", form="an address"
    )
    HONE_LANGUAGE = env.choice("HONE_LANGUAGE", default="en", choices=["en", "zh-hans"])
    HONE_LOG_LEVEL = env.choice("HONE_LOG_LEVEL", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    HONE_ONE_TIME_DAYS = env.whole_number("HONE_ONE_TIME_DAYS", default=7, minimum=1, maximum=365)
    HONE_REQUIRE_SECOND_FACTOR = env.choice(
        "HONE_REQUIRE_SECOND_FACTOR", default="nobody", choices=["nobody", "admins", "managers", "everybody"]
    )
    HONE_WEBAUTHN = env.flag("HONE_WEBAUTHN", default=False)
    HONE_PROXIES = env.whole_number("HONE_PROXIES", default=0, minimum=0, maximum=8)
    HONE_LOG_NAMES = env.choice("HONE_LOG_NAMES", default="plain", choices=["plain", "hashed"])
    HONE_ACCESS_LOG = env.flag("HONE_ACCESS_LOG", default=True)
    HONE_LOG_FORMAT = env.choice("HONE_LOG_FORMAT", default="line", choices=["line", "json"])
    HONE_METRICS_ADDRESSES = env.addresses("HONE_METRICS_ADDRESSES", default="127.0.0.0/8,::1/128")
    HONE_METRICS_TOKEN = env.secret("HONE_METRICS_TOKEN")
    HONE_SENTRY_DSN = env.address_of_server("HONE_SENTRY_DSN", example="https://KEY@errors.example/7", shown=False)
    env.needs_package("HONE_SENTRY_DSN", package="sentry_sdk", extra="observability")
    HONE_OTLP_ENDPOINT = env.address_of_server("HONE_OTLP_ENDPOINT", example="http://127.0.0.1:4318")
    env.needs_package("HONE_OTLP_ENDPOINT", package="opentelemetry", extra="observability")
    HONE_TRACE_PERCENT = env.whole_number("HONE_TRACE_PERCENT", default=100, minimum=1, maximum=100)
    HONE_OIDC_ISSUER = env.issuer("HONE_OIDC_ISSUER")
    HONE_OIDC_CLIENT_ID = env.text("HONE_OIDC_CLIENT_ID", default="")
    HONE_OIDC_CLIENT_SECRET = env.text("HONE_OIDC_CLIENT_SECRET", default="")
    HONE_OIDC_DOMAINS = [domain.lower() for domain in env.names("HONE_OIDC_DOMAINS")]
    HONE_OIDC_NAME = env.text("HONE_OIDC_NAME", default="single sign-on")
    if HONE_OIDC_ISSUER and not (HONE_OIDC_CLIENT_ID and HONE_OIDC_CLIENT_SECRET):
        raise WrongSetting("HONE_OIDC_ISSUER needs HONE_OIDC_CLIENT_ID and HONE_OIDC_CLIENT_SECRET too.")
    https = env.flag("HONE_HTTPS", default=False)
    hsts = env.choice("HONE_HSTS", default="host", choices=["off", "host", "subdomains", "preload"])
    DEBUG = env.flag("HONE_DEBUG", default=False)
    ALLOWED_HOSTS = env.names("HONE_ALLOWED_HOSTS", default="127.0.0.1,localhost,[::1]")
    CSRF_TRUSTED_ORIGINS = env.origins("HONE_TRUSTED_ORIGINS")
    SECRET_KEY = env.secret("HONE_SECRET_KEY") or stored_secret_key(HONE_DATA)
    database = env.database("DATABASE_URL", default=HONE_DATA / "hone.sqlite3")
    REDIS_URL = env.broker("REDIS_URL")
    STATIC_ROOT = env.subfolder(HONE_DATA / "static")
    env.refuse_unknown()
except WrongSetting as error:
    refuse(error)

# --- applications ---------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "config",
    "annotate",
    "rlhf",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
]
if HONE_OIDC_ISSUER:
    INSTALLED_APPS += ["allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
MIDDLEWARE = [
    "config.web.edge.EdgeMiddleware",
    "config.api.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "annotate.middleware.BearerMiddleware",
    "config.security.request_limits.RequestLimitsMiddleware",
    "config.security.open_sessions.tracking.OpenSessionsMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "rlhf.middleware.LateMessagesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "annotate.middleware.PreferencesMiddleware",
    "annotate.middleware.ScriptRefusalMiddleware",
    "annotate.middleware.SignedOutMiddleware",
    "annotate.middleware.OneTimePasswordMiddleware",
    "config.security.second_factor.stage.RequiredSecondFactorMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    # Last: it turns the reply to a sign-in that was one too many into the page that says so.
    "config.security.sign_in.SignInMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        # The name by which template_partials finds it.
        "NAME": "django",
        "BACKEND": "annotate.rendering.page_templates.PageTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            # Every page is in two languages.
            "builtins": ["django.templatetags.i18n"],
        },
    }
]

# --- data -----------------------------------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {"default": database}
if str(database["ENGINE"]).endswith("sqlite3"):
    # IMMEDIATE takes the write lock at BEGIN: a deferred transaction that upgrades later fails instead of waiting.
    # 8 MB of pages for each connection: of SQLite's own 2 MB the indexes of a million tasks leave nothing for the rest.
    database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-8000;"
        ),
    }
    # A file: threads and child processes of a test share it, which an in-memory database can't give them with WAL.
    database["TEST"] = {"NAME": str(HONE_DATA / "test.sqlite3")}
else:
    database["CONN_HEALTH_CHECKS"] = True
# Opening SQLite's file and reading its schema costs 2.5 ms of processor, a fifth of a labeler's submit.
database["CONN_MAX_AGE"] = 60
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = REDIS_URL or broker.address(HONE_DATA)

# --- people ---------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "annotate.User"
AUTHENTICATION_BACKENDS = [
    "config.security.sign_in.SignInLimits",
    "annotate.people.backends.OneTimePasswordBackend",
    "annotate.people.backends.PasswordBackend",
]
PASSWORD_HASHERS = ["config.security.password_hashing.BoundedPBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "annotate.people.passwords.OwnNameValidator"},
    {"NAME": "annotate.people.passwords.PatternValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "account_login"
# People are invited by a link from a project's manager, or get an account from an administrator: no e-mail, no sign-up.
ACCOUNT_ADAPTER = "config.security.accounts.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
# config.security.sign_in counts, for the administration too.
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": None, "reauthenticate": None}
MFA_ADAPTER = "config.security.second_factor.rules.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", *(["webauthn"] if HONE_WEBAUTHN else [])]
MFA_TOTP_ISSUER = "Hone"
MFA_TOTP_TOLERANCE = 1  # steps of half a minute: clocks of phones are not exact
SOCIALACCOUNT_ADAPTER = "config.security.single_sign_on.provider_accounts.ProviderAccountAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "oidc",
                "name": HONE_OIDC_NAME,
                "client_id": HONE_OIDC_CLIENT_ID,
                "secret": HONE_OIDC_CLIENT_SECRET,
                "settings": {"server_url": HONE_OIDC_ISSUER, "oauth_pkce_enabled": True},
            }
        ],
        "OAUTH_PKCE_ENABLED": True,
    }
}
SESSION_ENGINE = "config.security.sessions"
SESSION_COOKIE_AGE = 14 * 24 * 3600
MESSAGE_STORAGE = "annotate.rendering.page_templates.StorableMessages"

EMAIL_HOST, EMAIL_PORT = email["host"], email["port"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = email["user"], email["password"]
EMAIL_USE_TLS, EMAIL_USE_SSL, EMAIL_TIMEOUT = email["starttls"], email["tls"], 10

# --- security -------------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if https and hsts != "off" else 0
# Both bind other sites of the domain, preload for months after it is taken back: for whoever owns them to decide.
SECURE_HSTS_INCLUDE_SUBDOMAINS = https and hsts in ("subdomains", "preload")
SECURE_HSTS_PRELOAD = https and hsts == "preload"
# Containers and load balancers ask for it over plain HTTP; /healthz and /metrics are answered before all of this.
SECURE_REDIRECT_EXEMPT = [r"^readyz$"]
if HONE_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 * 2**20
FILE_UPLOAD_PERMISSIONS = 0o600  # Django's 0o644 would open what the umask closes

# --- pages ----------------------------------------------------------------------------------------------------------

LANGUAGE_CODE = HONE_LANGUAGE
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE = https
LANGUAGE_COOKIE_SAMESITE = "Lax"
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["config.date_formats"]
STATIC_URL = "/static/"
# The two folders by name: package.json and the lock file beside them are nobody's business.
STATICFILES_DIRS = [(name, BASE_DIR / "static" / name) for name in ("hone", "vendor")]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.assets.static_files.ModuleStaticFilesStorage"},
}

# --- log ------------------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "config.monitoring.log_lines.LineFormatter",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
        "json": {"()": "config.monitoring.log_lines.JSONFormatter"},
    },
    "filters": {
        "expected_error": {"()": "config.web.log_filters.ExpectedErrorFilter"},
        "invitation": {"()": "config.web.log_filters.InvitationFilter"},
        "context": {"()": "config.monitoring.log_lines.ContextFilter"},
        "token": {"()": "config.web.log_filters.TokenFilter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": HONE_LOG_FORMAT,
            "filters": ["expected_error", "invitation", "token", "context"],
        }
    },
    "root": {"handlers": ["stderr"], "level": HONE_LOG_LEVEL},
    "loggers": {
        # Its own handlers would print each line twice, and mail errors to nobody.
        "django": {"handlers": [], "level": HONE_LOG_LEVEL, "propagate": True},
        "django.db.backends": {"level": "INFO"},
        # It tells of each process where it found its credentials.
        "botocore": {"level": "WARNING"},
    },
}
