"""Every setting, read from the environment once, in the order of `.env.example`.

A value comes from the environment, else from `.env`, else from `var/local.env` (what `make run` generated), else from
the default here.
"""

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from messaging_project import __version__, env_file
from messaging_project.logs import settings_for
from messaging_project.unsafe import unsafe
from providers.wire import is_loopback

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(environ.Env):  # type: ignore[misc]
    """Takes a value that begins with $ as it is; django-environ would take it for another variable's name. Keeps the
    default of each setting that is read, for the table of them all.
    """

    defaults: dict[str, Any] = {}

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: bool = False
    ) -> Any:
        """Return the value of a variable, cast."""
        if default is not environ.Env.NOTSET:
            self.defaults[var] = default
        value = self.ENVIRON.get(var, "")
        if value.startswith("$"):
            return self.parse_value(value, cast)
        return super().get_value(var, cast, default, parse_default)


def read_file(path: Path) -> None:
    """Put what a settings file says underneath the environment; a file that can't be opened says nothing."""
    with suppress(OSError):
        for name, value in env_file.read(path).items():
            os.environ.setdefault(name, value)


env = Environment()
try:
    read_file(Path(env.str("ENV_FILE", default=str(BASE_DIR / ".env"))))
    read_file(Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))) / "local.env")
except env_file.MalformedFile as error:
    raise ImproperlyConfigured(str(error)) from None

# --- The site -------------------------------------------------------------------------------------------------------

VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))
DEBUG: bool = env.bool("DEBUG", default=False)
SECRET_KEY: str = env.str("SECRET_KEY", default="")
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
PUBLIC_URL: str = env.str("PUBLIC_URL", default="http://127.0.0.1:8080").rstrip("/")
try:
    PUBLIC_HOST, PUBLIC_PORT = urlsplit(PUBLIC_URL).hostname or "", urlsplit(PUBLIC_URL).port
except ValueError as error:
    raise ImproperlyConfigured(f"PUBLIC_URL is no URL: {error}.") from None
PUBLIC_URL_IS_LOOPBACK = is_loopback(PUBLIC_URL)
# Probes ask over loopback.
ALLOWED_HOSTS = [PUBLIC_HOST, *env.list("ALLOWED_HOSTS", default=[]), "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
METRICS_TOKEN: str = env.str("METRICS_TOKEN", default="")
FLOWER_URL: str = env.str("FLOWER_URL", default="").rstrip("/")
LOGIN_FAILURES: int = env.int("LOGIN_FAILURES", default=5)
LOGIN_LOCK_MINUTES: float = env.float("LOGIN_LOCK_MINUTES", default=15)
if LOGIN_FAILURES < 1 or LOGIN_LOCK_MINUTES <= 0:
    raise ImproperlyConfigured("LOGIN_FAILURES and LOGIN_LOCK_MINUTES are above 0: logins are always throttled.")

# A request without a key and a callback without a signature are taken on a developer's own machine, nowhere else.
TRUST_LOCAL_REQUESTS = DEBUG and PUBLIC_URL_IS_LOOPBACK

# --- The database and the broker ------------------------------------------------------------------------------------

DATABASES = {"default": env.db("DATABASE_URL", default="postgres://switchboard@127.0.0.1:15432/switchboard")}
DATABASES["default"]["OPTIONS"] = {
    **DATABASES["default"].get("OPTIONS", {}),
    # Celery closes its connections around every task; from a pool, closing costs nothing.
    "pool": {
        "min_size": 0,
        "max_size": env.int("DATABASE_POOL_SIZE", default=20),
        "timeout": 2,
        # By default the pool waits longer and longer between attempts, also when the database is back.
        "reconnect_timeout": 0,
    },
    "connect_timeout": 5,
    # A server that went without a word is given up after a minute at rest, not after the kernel's two hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    # Django's own cursors prepare nothing; ours for long statements do.
    "prepare_threshold": 5,
}
# A restarted database leaves dead connections in the pool: this looks at each before it is used.
DATABASES["default"]["ENGINE"] = "messaging_project.database"
# A pooler that hands connections out for a transaction each keeps nothing for whoever comes back.
if env.bool("DATABASE_VIA_PGBOUNCER", default=False):
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
    DATABASES["default"]["OPTIONS"]["prepare_threshold"] = None
REDIS_URL: str = env.str("REDIS_URL", default="redis://127.0.0.1:16379/0")
REDIS_SENTINEL_MASTER: str = env.str("REDIS_SENTINEL_MASTER", default="")
REDIS_SENTINEL_PASSWORD: str = env.str("REDIS_SENTINEL_PASSWORD", default="")
BROKER_URL: str = env.str("BROKER_URL", default="") or REDIS_URL
for name, url in {"REDIS_URL": REDIS_URL, "BROKER_URL": BROKER_URL}.items():
    schemes = ("redis", "rediss", "sentinel", *(["amqp", "amqps"] if name == "BROKER_URL" else []))
    if url.partition("://")[0] not in schemes:
        raise ImproperlyConfigured(f"{name} begins with one of {', '.join(f'{scheme}://' for scheme in schemes)}.")
    if url.startswith("sentinel://") and not REDIS_SENTINEL_MASTER:
        raise ImproperlyConfigured(f"{name} leads to Sentinels: set REDIS_SENTINEL_MASTER to the name of the master.")

# --- Sending --------------------------------------------------------------------------------------------------------

SYNC_MESSAGE_PROCESSING: bool = env.bool("SYNC_MESSAGE_PROCESSING", default=False)
DEFAULT_PHONE_REGION: str | None = env.str("DEFAULT_PHONE_REGION", default="") or None
LEASE_SECONDS: float = env.float("LEASE_SECONDS", default=60)
PROVIDER_TIMEOUT_SECONDS: float = env.float("PROVIDER_TIMEOUT_SECONDS", default=20)
CLAIM_SECONDS: float = env.float("CLAIM_SECONDS", default=20)
CALLS_IN_FLIGHT: int = env.int("CALLS_IN_FLIGHT", default=96)
RETRY_BASE_SECONDS: float = env.float("RETRY_BASE_SECONDS", default=2)
RETRY_CEILING_SECONDS: float = env.float("RETRY_CEILING_SECONDS", default=900)
EXPIRES_AFTER_SECONDS: float = env.float("EXPIRES_AFTER_SECONDS", default=86_400)
SETTLE_SECONDS: float = env.float("SETTLE_SECONDS", default=120)
SETTLE_MARGIN_SECONDS: float = env.float("SETTLE_MARGIN_SECONDS", default=30)
SETTLE_GAP_SECONDS: float = env.float("SETTLE_GAP_SECONDS", default=30)
SETTLE_DEADLINE_SECONDS: float = env.float("SETTLE_DEADLINE_SECONDS", default=900)
ON_UNRESOLVED = {
    "sms": env.str("ON_UNRESOLVED_SMS", default="hold"),
    "mms": env.str("ON_UNRESOLVED_MMS", default="hold"),
    "email": env.str("ON_UNRESOLVED_EMAIL", default="hold"),
}
SENDER_RATES: dict[str, float] = env.dict("SENDER_RATES", cast={"value": float}, default={})
PROBE_SECONDS: float = env.float("PROBE_SECONDS", default=60)
BREAKER_FAILURES: int = env.int("BREAKER_FAILURES", default=10)
BREAKER_AFTER_SECONDS: float = env.float("BREAKER_AFTER_SECONDS", default=2)
BREAKER_STALL_SECONDS: float = env.float("BREAKER_STALL_SECONDS", default=3)
BREAKER_SECONDS: float = env.float("BREAKER_SECONDS", default=30)

# A call may begin only while its time and this margin still fit into the lease.
LEASE_MARGIN_SECONDS = 5
if LEASE_SECONDS <= PROVIDER_TIMEOUT_SECONDS + LEASE_MARGIN_SECONDS:
    raise ImproperlyConfigured(
        f"LEASE_SECONDS={LEASE_SECONDS:g} leaves no time to begin a call: set it above PROVIDER_TIMEOUT_SECONDS"
        f" ({PROVIDER_TIMEOUT_SECONDS:g}) + {LEASE_MARGIN_SECONDS}."
    )

# A provider may still be taking over what we asked it for when our own call has given up.
if SETTLE_SECONDS < PROVIDER_TIMEOUT_SECONDS + SETTLE_MARGIN_SECONDS:
    raise ImproperlyConfigured(
        f"SETTLE_SECONDS={SETTLE_SECONDS:g} is too soon to ask what became of a call: set it to at least"
        f" PROVIDER_TIMEOUT_SECONDS ({PROVIDER_TIMEOUT_SECONDS:g}) + {SETTLE_MARGIN_SECONDS:g}."
    )
SENDER_TYPES = {"long_code", "toll_free", "short_code", "alphanumeric", "email"}
for sender, rate in SENDER_RATES.items():
    if rate <= 0 or not (sender in SENDER_TYPES or re.fullmatch(r"\+?\d+|.+@.+", sender)):
        raise ImproperlyConfigured(
            f"SENDER_RATES has {sender}={rate:g}: it takes a sender, or one of {', '.join(sorted(SENDER_TYPES))}, and"
            " how many messages a second may leave, above 0, such as long_code=1,+15551234567=10."
        )
if not set(ON_UNRESOLVED.values()) <= {"hold", "resend"}:
    raise ImproperlyConfigured("ON_UNRESOLVED_SMS, _MMS and _EMAIL are hold or resend.")

# --- The API --------------------------------------------------------------------------------------------------------

API_REQUESTS_PER_MINUTE: int = env.int("API_REQUESTS_PER_MINUTE", default=3_000)
LOCAL_REQUESTS_PER_MINUTE: int = env.int("LOCAL_REQUESTS_PER_MINUTE", default=60_000)

# --- What subscribers are told --------------------------------------------------------------------------------------

EVENT_TIMEOUT_SECONDS: float = env.float("EVENT_TIMEOUT_SECONDS", default=15)
EVENT_RETRY_BASE_SECONDS: float = env.float("EVENT_RETRY_BASE_SECONDS", default=5)
EVENT_RETRY_CEILING_SECONDS: float = env.float("EVENT_RETRY_CEILING_SECONDS", default=3_600)
EVENT_GIVE_UP_SECONDS: float = env.float("EVENT_GIVE_UP_SECONDS", default=259_200)
EVENT_DISABLE_AFTER_SECONDS: float = env.float("EVENT_DISABLE_AFTER_SECONDS", default=432_000)

# --- The providers --------------------------------------------------------------------------------------------------

ROUTES: dict[str, list[str]] = {
    "sms": env.list("ROUTE_SMS", default=["twilio"]),
    "mms": env.list("ROUTE_MMS", default=[]),
    "email": env.list("ROUTE_EMAIL", default=["sendgrid"]),
}
ROUTES["mms"] = ROUTES["mms"] or ROUTES["sms"]
for channel, kinds in {"sms": ["twilio"], "mms": ["twilio"], "email": ["sendgrid", "smtp"]}.items():
    route = ROUTES[channel]
    if (
        not route
        or len(set(route)) < len(route)
        or not all(re.fullmatch(rf"({'|'.join(kinds)})(_[a-z0-9_]{{1,40}})?", name) for name in route)
    ):
        raise ImproperlyConfigured(
            f"ROUTE_{channel.upper()}={','.join(route)} is no list of accounts, each named once: for {channel} an"
            f" account is called {' or '.join(kinds)}, or such a word and a name: {kinds[0]}_backup."
        )
TWILIO_ACCOUNT_SID: str = env.str("TWILIO_ACCOUNT_SID", default="")
TWILIO_AUTH_TOKEN: str = env.str("TWILIO_AUTH_TOKEN", default="")
TWILIO_SECONDARY_AUTH_TOKEN: str = env.str("TWILIO_SECONDARY_AUTH_TOKEN", default="")
TWILIO_SUBACCOUNT_TOKENS: dict[str, str] = env.dict("TWILIO_SUBACCOUNT_TOKENS", default={})
TWILIO_SHARED_KEYS: dict[str, str] = env.dict("TWILIO_SHARED_KEYS", default={})
TWILIO_BASE_URL: str = env.str("TWILIO_BASE_URL", default="https://api.twilio.com")
SENDGRID_API_KEY: str = env.str("SENDGRID_API_KEY", default="")
SENDGRID_BASE_URL: str = env.str("SENDGRID_BASE_URL", default="https://api.sendgrid.com")
SENDGRID_WEBHOOK_PUBLIC_KEY: str = env.str("SENDGRID_WEBHOOK_PUBLIC_KEY", default="")
SENDGRID_INBOUND_PUBLIC_KEY: str = env.str("SENDGRID_INBOUND_PUBLIC_KEY", default="")
SENDGRID_INBOUND_SECRET: str = env.str("SENDGRID_INBOUND_SECRET", default="")
SENDGRID_EMAIL_ACTIVITY: bool = env.bool("SENDGRID_EMAIL_ACTIVITY", default=False)
SMTP_URL: str = env.str("SMTP_URL", default="")
INBOUND_EMAIL_DOMAIN: str = env.str("INBOUND_EMAIL_DOMAIN", default="").lower()
# A further account, such as twilio_backup, has each setting of its kind for itself: TWILIO_BACKUP_AUTH_TOKEN. What is
# not set is empty, but for the base URL, which is as its kind's.
own_settings = {name: value for name, value in globals().items() if re.match(r"(TWILIO|SENDGRID|SMTP)_", name)}
for account in {name for route in ROUTES.values() for name in route} - {"twilio", "sendgrid", "smtp"}:
    kind = account.partition("_")[0].upper()
    for name, value in own_settings.items():
        if name.startswith(f"{kind}_"):
            own_name = name.replace(kind, account.upper(), 1)
            if own_name in own_settings:
                raise ImproperlyConfigured(f"{own_name} is a setting of {kind.lower()}: call {account} something else.")
            default = value if name.endswith("_BASE_URL") else type(value)()
            globals()[own_name] = env.get_value(own_name, cast=type(value), default=default)

# --- What comes in --------------------------------------------------------------------------------------------------

RECEIPT_RETENTION_DAYS: int = env.int("RECEIPT_RETENTION_DAYS", default=30)
RETENTION_DAYS = {
    "sms": env.int("RETENTION_DAYS_SMS", default=0),
    "mms": env.int("RETENTION_DAYS_MMS", default=0),
    "email": env.int("RETENTION_DAYS_EMAIL", default=0),
}
if min(RETENTION_DAYS.values()) < 0:
    raise ImproperlyConfigured("RETENTION_DAYS_SMS, _MMS and _EMAIL are days, 0 where messages are kept for good.")
MEDIA_DIR = Path(env.str("MEDIA_DIR", default=str(VAR_DIR / "media")))
MEDIA_MAX_BYTES: int = env.int("MEDIA_MAX_BYTES", default=25 * 1024 * 1024)
MEDIA_TYPES: list[str] = env.list(
    "MEDIA_TYPES", default=["image/*", "audio/*", "video/*", "text/*", "application/*", "message/*"]
)
MEDIA_LINK_DAYS: int = env.int("MEDIA_LINK_DAYS", default=30)
FETCH_ALLOW: list[str] = env.list("FETCH_ALLOW", default=[])

# --- The sandbox ----------------------------------------------------------------------------------------------------

SANDBOX_URL: str = env.str("SANDBOX_URL", default="").rstrip("/")
SANDBOX_SECRET: str = env.str("SANDBOX_SECRET", default="")
SANDBOX_DELIVER_TO: str = env.str("SANDBOX_DELIVER_TO", default="").rstrip("/")
if bool(SANDBOX_URL) != bool(SANDBOX_SECRET) or 0 < len(SANDBOX_SECRET) < 32:
    raise ImproperlyConfigured(
        "Test clients need both: SANDBOX_URL, where `manage.py sandbox --test` listens, and the same SANDBOX_SECRET for"
        " both sides, of at least 32 characters."
    )
SANDBOX_PORT: int = env.int("SANDBOX_PORT", default=8090)
SANDBOX_LATENCY_MS: int = env.int("SANDBOX_LATENCY_MS", default=50)
SANDBOX_CALLBACK_DELAY_MS: int = env.int("SANDBOX_CALLBACK_DELAY_MS", default=200)
SANDBOX_LEDGER = Path(env.str("SANDBOX_LEDGER", default=str(VAR_DIR / "sandbox" / "ledger.jsonl")))
SANDBOX_SENDGRID_PRIVATE_KEY: str = env.str("SANDBOX_SENDGRID_PRIVATE_KEY", default="")

# --- Django ---------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "messaging_project.apps.StaffConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "messaging_project",
    "webhooks",
    "conversations",
    "providers",
]
MIDDLEWARE = [
    "messaging_project.requests.RequestIds",
    "messaging_project.requests.RequestLines",
    "messaging_project.http_metrics.CountRequests",
    "messaging_project.policy.KnownHosts",
    "conversations.api.limits.RateLimitHeaders",
    "messaging_project.problems.ProblemMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "messaging_project.policy.ContentSecurityPolicy",
    "axes.middleware.AxesMiddleware",
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
ROOT_URLCONF = "messaging_project.urls"
WSGI_APPLICATION = "messaging_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Counted by name and by the address that the connection comes from, which nobody can forge. Behind a proxy that is the
# proxy's for everybody, so that there it is counted by name alone.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "messaging_project.login.address_of"
AXES_USERNAME_CALLABLE = "messaging_project.login.name_of"
AXES_LOCKOUT_CALLABLE = "messaging_project.login.locked_out"
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=LOGIN_LOCK_MINUTES)
# The end of a lock stands: knocking on does not put it off.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = ["messaging_project.formats"]
TIME_ZONE = "UTC"
USE_TZ = True
STORAGES = {
    # Swap the backend for one of django-storages to keep files in S3 and its like.
    "default": {"BACKEND": "messaging_project.storage.DurableFiles"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MEDIA_ROOT = MEDIA_DIR
STATIC_URL = "static/"
# Served from where the apps keep them, so that there is no step of collecting to forget.
WHITENOISE_USE_FINDERS = True
# The API's limit for one request; the provider doors read their own bodies.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
FILE_UPLOAD_HANDLERS = [
    "messaging_project.uploads.BoundedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# Behind a proxy that speaks TLS and says so. The probes ask over loopback, without it.
SPEAKS_TLS = PUBLIC_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = SPEAKS_TLS
SECURE_REDIRECT_EXEMPT = [r"^(live|startup|ready|health|dependencies|metrics)/?$"]
SECURE_HSTS_SECONDS = 31_536_000 if SPEAKS_TLS else 0
SESSION_ENGINE = "messaging_project.sessions"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SPEAKS_TLS
# Under the prefix browsers take cookies over TLS from this very host alone: no sub-domain can plant one. Without TLS
# it is the port that keeps two systems on one machine apart: browsers give a host's cookies to all its ports.
COOKIE_NAME = "__Host-{}" if SPEAKS_TLS else f"{{}}_{PUBLIC_PORT}" if PUBLIC_PORT else "{}"
SESSION_COOKIE_NAME = COOKIE_NAME.format("sessionid")
CSRF_COOKIE_NAME = COOKIE_NAME.format("csrftoken")
# The forms bring the token with them, so that no script needs the cookie.
CSRF_COOKIE_HTTPONLY = True
# Whether sub-domains follow, and whether browsers are told in advance, is for the owner of the domain to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "conversations.api.authentication.KeyAuthentication",
        "conversations.api.authentication.LocalDevelopment",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["conversations.api.authentication.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["conversations.api.limits.RateLimit"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["conversations.api.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "messaging_project.openapi.schema.Schema",
    "EXCEPTION_HANDLER": "messaging_project.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
    "COMPACT_JSON": True,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Switchboard",
    "DESCRIPTION": "One API for SMS, MMS and email conversations. Every error is a problem+json with a stable `code`.",
    "VERSION": __version__,
    "SERVERS": [{"url": PUBLIC_URL}],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PREPROCESSING_HOOKS": ["messaging_project.openapi.schema.paths_of_the_api"],
    "POSTPROCESSING_HOOKS": ["messaging_project.openapi.schema.closed_bodies"],
    "COMPONENT_SPLIT_REQUEST": False,
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "defaultModelsExpandDepth": 0, "tryItOutEnabled": True},
}

if not DEBUG:
    for sentence in unsafe(globals(), env):
        raise ImproperlyConfigured(sentence)

# --- Logs: ids, never bodies, numbers, addresses or keys ------------------------------------------------------------

LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT: str = env.str("LOG_FORMAT", default="auto").lower()
LOGGING_CONFIG = "messaging_project.logs.configure"
LOGGING = settings_for(LOG_FORMAT, LOG_LEVEL, debug=DEBUG)
