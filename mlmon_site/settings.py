"""Settings of mlmon, read once from the environment (docs/configuration.md lists the variables).

By default this is the *embedded* run: SQLite and Valkey in ``var/``, bound to 127.0.0.1, with an open API.
``MLMON_ENVIRONMENT=production`` requires a secret key, a database, Redis and allowed hosts, and API tokens.
"""

import hashlib
import tempfile
from datetime import timedelta
from pathlib import Path

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from mlmon_site import openapi
from mlmon_site.environment import SOCKET_PATH_LIMIT, Environment, database_settings, kept_secret

# Lets Django's generic classes be subscripted at run time, as their annotations are.
django_stubs_ext.monkeypatch()

env = Environment()

LONGEST_WAIT_MS = 3_600_000
LONGEST_TICK_SECONDS = 86_400
MOST_DAYS = 36_500

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.str("MLMON_VAR_DIR", default=str(BASE_DIR / "var"))).absolute()
ENVIRONMENT = env.choice("MLMON_ENVIRONMENT", ("embedded", "production"), default="embedded")
IS_PRODUCTION = ENVIRONMENT == "production"


for _name in ("MLMON_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "MLMON_ALLOWED_HOSTS"):
    if IS_PRODUCTION and not env.str(_name, default=""):
        raise ImproperlyConfigured(f"{_name} (or {_name}_FILE) must be set when MLMON_ENVIRONMENT=production.")

VAR_DIR.mkdir(parents=True, exist_ok=True)

# --- Django ---------------------------------------------------------------------------------------------------------

DEBUG = env.strict_bool("MLMON_DEBUG", default=False)
SECRET_KEY = env.str("MLMON_SECRET_KEY", default="") or kept_secret(VAR_DIR / "secret_key")
ALLOWED_HOSTS = env.list("MLMON_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("MLMON_CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "demo",
    "mlmon_site",
    "monitoring",
    "rollouts",
    "drift",
    "performance",
    "inference",
    "models_registry",
    "accounts",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_prometheus",
]

MIDDLEWARE = [
    "mlmon_site.middleware.RequestIdentityMiddleware",
    "mlmon_site.middleware.NulCheckMiddleware",
    "mlmon_site.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "mlmon_site.urls"
WSGI_APPLICATION = "mlmon_site.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

DATABASES = {"default": database_settings(env, VAR_DIR / "mlmon.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = ["mlmon_site.formats"]

STATIC_URL = "/static/"
STATICFILES_DIRS = [("mlmon", BASE_DIR / "mlmon" / "report" / "static")]  # the styles of results and reports
STATIC_ROOT = Path(env.str("MLMON_STATIC_ROOT", default=str(VAR_DIR / "static")))
MEDIA_ROOT = Path(env.str("MLMON_MEDIA_ROOT", default=str(VAR_DIR / "media")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = not IS_PRODUCTION  # the embedded run needs no collectstatic
if not IS_PRODUCTION:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns if the folder is missing

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = env.strict_bool("MLMON_HTTPS", default=IS_PRODUCTION)
if SECURE_SSL_REDIRECT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds())
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    # Probes, scrapes and the events of KServe come from inside the cluster over plain HTTP.
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics|v2/health/(live|ready)|api/v1/kserve/events)$"]

# --- API ------------------------------------------------------------------------------------------------------------

MLMON_API_ACCESS = env.choice("MLMON_API_ACCESS", ("token", "open"), default="token" if IS_PRODUCTION else "open")
MLMON_METRICS_ACCESS = env.choice("MLMON_METRICS_ACCESS", ("token", "open"), default="open")
MLMON_DEFAULT_MODEL = env.str("MLMON_DEFAULT_MODEL", default="classifier")
MLMON_MAX_ROWS_PER_REQUEST = env.positive_int("MLMON_MAX_ROWS_PER_REQUEST", default=10_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = env.positive_int("MLMON_MAX_BODY_BYTES", default=16 * 2**20)
# Uploaded files are written to disk from 2.5 MB on. The limits below are for them.
MLMON_MAX_ARTEFACT_BYTES = env.positive_int("MLMON_MAX_ARTEFACT_BYTES", default=256 * 2**20)
MLMON_MAX_REFERENCE_BYTES = env.positive_int("MLMON_MAX_REFERENCE_BYTES", default=512 * 2**20)
MLMON_MAX_REFERENCE_ROWS = env.positive_int("MLMON_MAX_REFERENCE_ROWS", default=5_000_000)
# A body may take this long, and longer if it arrives at the rate of the next setting.
MLMON_BODY_TIMEOUT_SECONDS = env.positive_int("MLMON_BODY_TIMEOUT_SECONDS", default=10, most=3600)
MLMON_BODY_MIN_BYTES_PER_SECOND = env.positive_int("MLMON_BODY_MIN_BYTES_PER_SECOND", default=32 * 2**10)
MLMON_HEADER_TIMEOUT_SECONDS = env.positive_int("MLMON_HEADER_TIMEOUT_SECONDS", default=10, most=3600)
# In each web process; 0 sets no limit.
MLMON_MAX_REQUESTS_PER_ADDRESS = env.whole_number("MLMON_MAX_REQUESTS_PER_ADDRESS", default=0)
MLMON_TRUSTED_PROXIES = env.networks("MLMON_TRUSTED_PROXIES")
# Slow predictions of one model in a web process: those that run at the same time, and those that wait.
MLMON_MODEL_RUNS = env.positive_int("MLMON_MODEL_RUNS", default=2, most=32)
MLMON_MODEL_QUEUE = env.positive_int("MLMON_MODEL_QUEUE", default=64)
MLMON_PREDICTION_TIMEOUT_MS = env.positive_int("MLMON_PREDICTION_TIMEOUT_MS", default=10_000, most=LONGEST_WAIT_MS)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "inference.api.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["inference.api.authentication.HasApiAccess"],
    "DEFAULT_RENDERER_CLASSES": ["rest.codec.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest.codec.OrjsonParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "rest.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_PAGINATION_CLASS": "rest.codec.BoundedPagination",
    "PAGE_SIZE": 100,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "mlmon",
    "DESCRIPTION": openapi.DESCRIPTION,
    "TAGS": openapi.TAGS,
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "displayRequestDuration": True,
        "persistAuthorization": False,  # do not keep tokens in the browser
        "tryItOutEnabled": True,
        "defaultModelsExpandDepth": 0,
        "validatorUrl": None,
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "mlmon_site.openapi.complete_description",
    ],
    "ENUM_NAME_OVERRIDES": {
        "KindEnum": "models_registry.api.serializers.FEATURE_KINDS",
        "ResultStatusEnum": "drift.api.serializers.RESULT_STATUSES",
        "RolloutKindEnum": "rollouts.api.serializers.KINDS",
        "RolloutMeasureEnum": "rollouts.api.serializers.MEASURES",
        "StageEnum": "models_registry.models.Stage",
        "TaskEnum": "models_registry.models.TASKS",
        "ScoreKindEnum": "models_registry.models.SCORE_KINDS",
    },
}

# Port of the scrape server, a process beside the workers of the web server; 0 starts none.
MLMON_SCRAPE_PORT = env.port_or_none("MLMON_SCRAPE_PORT", default=9101 if IS_PRODUCTION else 0)
# Folder of the web workers' counters (the multiprocess mode of prometheus_client).
MLMON_METRICS_DIR = Path(env.str("MLMON_METRICS_DIR", default=str(VAR_DIR / "metrics")))

# --- Redis, capture, Celery -----------------------------------------------------------------------------------------

# Socket of the embedded Valkey; in the temporary folder if its path in ``var/`` is too long.
VALKEY_SOCKET = VAR_DIR / "valkey.sock"
if len(bytes(VALKEY_SOCKET)) > SOCKET_PATH_LIMIT:
    VALKEY_SOCKET = (
        Path(tempfile.gettempdir()) / f"mlmon-{hashlib.sha256(bytes(VAR_DIR)).hexdigest()[:16]}" / "valkey.sock"
    )
REDIS_URL = env.str("REDIS_URL", default="") or f"unix://{VALKEY_SOCKET}?db=0"
MLMON_CAPTURE_QUEUE_ROWS = env.positive_int("MLMON_CAPTURE_QUEUE_ROWS", default=100_000)
MLMON_CAPTURE_FLUSH_MS = env.positive_int("MLMON_CAPTURE_FLUSH_MS", default=100, most=LONGEST_WAIT_MS)
MLMON_KSERVE_EVENT_BYTES = env.positive_int("MLMON_KSERVE_EVENT_BYTES", default=2**20)
MLMON_KSERVE_QUEUE_BYTES = env.positive_int("MLMON_KSERVE_QUEUE_BYTES", default=64 * 2**20)
MLMON_KSERVE_PAIR_SECONDS = env.positive_int("MLMON_KSERVE_PAIR_SECONDS", default=120, most=LONGEST_TICK_SECONDS)
MLMON_KSERVE_WAITING_EVENTS = env.positive_int("MLMON_KSERVE_WAITING_EVENTS", default=200_000)
MLMON_KSERVE_WAITING_BYTES = env.positive_int("MLMON_KSERVE_WAITING_BYTES", default=64 * 2**20)
MLMON_LIVE_WINDOW_ROWS = env.positive_int("MLMON_LIVE_WINDOW_ROWS", default=100_000)
MLMON_STREAM_ROWS = env.positive_int("MLMON_STREAM_ROWS", default=1_000_000)
MLMON_ARCHIVE_TICK_SECONDS = env.positive_int("MLMON_ARCHIVE_TICK_SECONDS", default=10, most=LONGEST_TICK_SECONDS)
MLMON_ARCHIVE_RETENTION_DAYS = env.positive_int("MLMON_ARCHIVE_RETENTION_DAYS", default=90, most=MOST_DAYS)
MLMON_GROUND_TRUTH_RETENTION_DAYS = env.positive_int("MLMON_GROUND_TRUTH_RETENTION_DAYS", default=365, most=MOST_DAYS)
MLMON_ARCHIVE_MAX_BYTES = env.positive_int("MLMON_ARCHIVE_MAX_BYTES", default=10 * 2**30)

CELERY_BROKER_URL = REDIS_URL
if REDIS_URL.startswith("unix://"):  # kombu's spelling
    CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 900
CELERY_TASK_SOFT_TIME_LIMIT = 840
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 1800, "socket_timeout": 10, "socket_keepalive": True}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
# Prepared references that each process keeps for the next check of the same version.
MLMON_PREPARED_REFERENCES_BYTES = env.positive_int("MLMON_PREPARED_REFERENCES_BYTES", default=512 * 2**20)
MLMON_DRIFT_TICK_SECONDS = env.positive_int("MLMON_DRIFT_TICK_SECONDS", default=20, most=LONGEST_TICK_SECONDS)
MLMON_PERFORMANCE_TICK_SECONDS = env.positive_int(
    "MLMON_PERFORMANCE_TICK_SECONDS", default=60, most=LONGEST_TICK_SECONDS
)
CELERY_BEAT_SCHEDULE = {
    # A task that has waited until the next tick is dropped, because that tick does its work.
    "drift-tick": {
        "task": "drift.tasks.check_due_versions",
        "schedule": timedelta(seconds=MLMON_DRIFT_TICK_SECONDS),
        "options": {"expires": MLMON_DRIFT_TICK_SECONDS},
    },
    "archive-tick": {
        "task": "inference.tasks.archive_observations",
        "schedule": timedelta(seconds=MLMON_ARCHIVE_TICK_SECONDS),
        "options": {"expires": MLMON_ARCHIVE_TICK_SECONDS},
    },
    "ground-truth-join": {
        "task": "performance.tasks.join_ground_truth",
        "schedule": timedelta(seconds=30),
        "options": {"expires": 30},
    },
    "performance-tick": {
        "task": "performance.tasks.measure_performance",
        "schedule": timedelta(seconds=MLMON_PERFORMANCE_TICK_SECONDS),
        "options": {"expires": MLMON_PERFORMANCE_TICK_SECONDS},
    },
    "rollout-tick": {
        "task": "rollouts.tasks.control_rollouts",
        "schedule": timedelta(seconds=10),
        "options": {"expires": 10},
    },
    "rollout-retention": {
        "task": "rollouts.tasks.delete_old_rows",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "traffic-rollup": {
        "task": "inference.tasks.roll_up_traffic",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},
    },
    "archive-compaction": {
        "task": "inference.tasks.compact_archive",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    "archive-retention": {
        "task": "inference.tasks.enforce_retention",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "ground-truth-retention": {
        "task": "performance.tasks.delete_old_ground_truth",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "waiting-references": {
        "task": "models_registry.tasks.recover_references",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "profile-rebuild": {
        "task": "models_registry.tasks.rebuild_profiles",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
}

# --- Admin ----------------------------------------------------------------------------------------------------------


def _list(title: str, icon: str, table: str) -> dict[str, object]:
    """Return the menu item of a table ("app.model"), shown to people who may view its rows."""
    app, _, model = table.partition(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{model}"),
    }


UNFOLD = {
    "SITE_TITLE": "mlmon",
    "SITE_HEADER": "mlmon",
    "SITE_SUBHEADER": "model monitoring",
    "SITE_SYMBOL": "monitoring",
    "SITE_URL": "/api/docs",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("mlmon/favicon.svg")}],
    "STYLES": [lambda request: static("mlmon/pages.css")],
    "SCRIPTS": [
        lambda request: static("vendor/idiomorph/idiomorph.min.js"),
        lambda request: static("mlmon/live.js"),
        lambda request: static("mlmon/select_names.js"),
        lambda request: static("mlmon/keyboard.js"),
        lambda request: static("mlmon/search.js"),
    ],
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "monitoring.views.with_overview",
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": "Models",
                "items": [
                    {"title": "Overview", "icon": "dashboard", "link": reverse_lazy("admin:index")},
                    _list("Models", "hub", "models_registry.model"),
                    _list("Versions", "deployed_code", "models_registry.modelversion"),
                    _list("Reference data", "dataset", "models_registry.referencedataset"),
                    _list("Rollouts", "alt_route", "rollouts.rollout"),
                    _list("KServe services", "cloud_sync", "inference.kserveservice"),
                ],
            },
            {
                "title": "Drift",
                "separator": True,
                "items": [
                    _list("Incidents", "crisis_alert", "drift.driftincident"),
                    _list("Checks", "troubleshoot", "drift.driftcheck"),
                    _list("Policies", "tune", "drift.driftpolicy"),
                    _list("Capture", "save", "inference.capturepolicy"),
                ],
            },
            {
                "title": "Performance",
                "separator": True,
                "items": [
                    _list("Reports", "query_stats", "performance.performancereport"),
                    _list("Ground truth", "fact_check", "performance.groundtruth"),
                    _list("Uploads", "upload_file", "performance.groundtruthupload"),
                    _list("Policies", "tune", "performance.performancepolicy"),
                ],
            },
            {
                "title": "Operations",
                "separator": True,
                "items": [
                    _list("Jobs", "schedule", "monitoring.jobrun"),
                    _list("Schedules", "event_repeat", "django_celery_beat.periodictask"),
                    _list("API tokens", "key", "accounts.apitoken"),
                    _list("Changes", "history", "accounts.changerecord"),
                    _list("Users", "person", "auth.user"),
                    _list("Groups", "group", "auth.group"),
                    {"title": "API", "icon": "api", "link": "/api/docs"},
                ],
            },
        ],
    },
}

# --- Logs -----------------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {"()": "mlmon_site.logs.JsonFormatter"},
    },
    "filters": {"without_clients_traceback": {"()": "mlmon_site.logs.WithoutClientsTraceback"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["without_clients_traceback"],
            "formatter": env.choice(
                "MLMON_LOG_FORMAT", ("plain", "json"), default="json" if IS_PRODUCTION else "plain"
            ),
        },
    },
    "root": {
        "handlers": ["console"],
        "level": env.choice("MLMON_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), default="INFO"),
    },
}
