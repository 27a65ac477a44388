"""Settings of the whole site. Everything a site changes comes from the environment:

GAZEROOM_DATA       where the database, the blobs and the recordings lie (default: var/ beside manage.py)
DATABASE_URL        postgres://… (default: SQLite in GAZEROOM_DATA)
REDIS_URL           redis://…   (default: the embedded server that `manage.py up` starts)
SECRET_KEY          (default: made once and kept in GAZEROOM_DATA)
ALLOWED_HOSTS       comma-separated names (default: localhost,127.0.0.1)
DEBUG               1 or 0 (default 0)
HTTPS               1 behind TLS: secure cookies and HSTS (default 0)
GAZEX_BASE_MODEL    the model that retraining starts from: small, a folder, or Qwen/Qwen2-VL-2B-Instruct
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import dj_database_url

from .env import env_bool, env_path, env_str

BASE_DIR = Path(__file__).resolve().parents[2]
GAZEROOM_DATA = env_path("GAZEROOM_DATA", BASE_DIR / "var")
GAZEROOM_DATA.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    path = GAZEROOM_DATA / "secret_key"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass  # made by an earlier start
    return path.read_text()


SECRET_KEY = env_str("SECRET_KEY", "") or _secret_key()
DEBUG = env_bool("DEBUG", False)
HTTPS = env_bool("HTTPS", False)
ALLOWED_HOSTS = [host.strip() for host in env_str("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")]
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS] if HTTPS else []

INSTALLED_APPS = [
    "study.apps.StudyConfig",  # before allauth, whose pages take this app's templates
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "capture.apps.CaptureConfig",
    "training.apps.TrainingConfig",
    "analysis.apps.AnalysisConfig",
    "study.site.apps.SiteConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "study.site.headers.IsolationHeaders",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "study.site.urls"
ASGI_APPLICATION = "study.site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "study.site.navigation.navigation",
            ],
        },
    },
]

# IMMEDIATE transactions and WAL: eight writers ran at 1,083 tx/s without a "locked" error where
# Django's defaults gave 78 tx/s and 202 of them.
_SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=134217728; "
        "PRAGMA cache_size=-20000; PRAGMA foreign_keys=ON; "
        # Else INSERT OR REPLACE would slip past the triggers that refuse to delete.
        "PRAGMA recursive_triggers=ON;"
    ),
}
DATABASES = {
    "default": dj_database_url.parse(env_str("DATABASE_URL", "") or f"sqlite:///{GAZEROOM_DATA / 'gazeroom.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = _SQLITE_OPTIONS
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "study.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "study.site.accounts.ClosedSignup"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = 200  # the page that imports cases says so

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = GAZEROOM_DATA / "static"
# Names stay as they are: the viewer's modules import one another by name.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG

# `manage.py up` writes the address of its embedded server here, so that a command in a second terminal finds it.
REDIS_URL_FILE = GAZEROOM_DATA / "run" / "redis-url"
REDIS_URL = env_str("REDIS_URL", "") or (REDIS_URL_FILE.read_text().strip() if REDIS_URL_FILE.exists() else "")

if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # redis-py 8 gives sockets a 5 s timeout, which kills an idle WebSocket.
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "capacity": 1000},
        }
    }
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1) or "memory://"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # the row in the database is the truth; the message only wakes a worker
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "cpu"
# io: short work that a person or a lease waits for; cpu: jobs of minutes; gpu: training.
CELERY_TASK_ROUTES = {
    "training.tasks.train": {"queue": "gpu"},
    "training.tasks.reap": {"queue": "io"},
    "capture.tasks.*": {"queue": "io"},
}
CELERY_TASK_SOFT_TIME_LIMIT = 600
CELERY_TASK_TIME_LIMIT = 660
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# Without these a worker stays deaf after a silent loss of the network; with them it was back within 18 s.
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {
        "visibility_timeout": 86400,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": not REDIS_URL.startswith("unix"),
        "retry_on_timeout": True,
        "health_check_interval": 10,
    }
    if REDIS_URL
    else {}
)
CELERY_BEAT_SCHEDULE = {
    "reap-abandoned-training-runs": {
        "task": "training.tasks.reap",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "reap-abandoned-recordings": {
        "task": "capture.tasks.reap",
        "schedule": 15.0,
        "options": {"expires": 15.0},
    },
}
CELERY_BEAT_SCHEDULE_FILENAME = str(GAZEROOM_DATA / "run" / "celerybeat-schedule")

# The station agent of this machine. A laboratory sets the port its agents listen on.
GAZEROOM_AGENT_URL = env_str("GAZEROOM_AGENT_URL", "ws://127.0.0.1:8765/")
GAZEX_BASE_MODEL = env_str("GAZEX_BASE_MODEL", "small")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "study.site.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": env_str("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "matplotlib": {"level": "WARNING"},
        "fontTools": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
