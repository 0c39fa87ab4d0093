"""Django's settings, all derived from `portal.env`."""

from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

from django.utils.csp import CSP

from portal import env
from portal.accounts import sso

ENV = env.read()
PRODUCTION = ENV.production
DEBUG = False
SECRET_KEY = ENV.secrets.django
ALLOWED_HOSTS = list(ENV.allowed_hosts)
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"

INSTALLED_APPS = [
    # Ours first: a page of ours stands in front of a library's page of the same name.
    "portal.web",
    "portal.accounts",
    "portal.approvals",
    "portal.reports",
    "portal.api",
    "sandboxes.audit",
    "sandboxes.lifecycle",
    "sandboxes.usage",
    "sandboxes.screening",
    "sandboxes.index",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",  # its array fields ask for it
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.web.context.portal",
            ],
        },
    },
]


def _database(url: str) -> dict[str, object]:
    """Django's form of a postgresql:// URL; `?host=` names a socket folder."""
    parts = urlsplit(url)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or query.pop("port", "")),
        # Requests run on short-lived threads: connections are pooled, not kept per thread.
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 12, "timeout": 10}, **query},
    }


DATABASES = {"default": _database(ENV.database_url)}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = ENV.data_dir / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# One cache for all web processes, so that a limit on sign-ins holds for all of them together.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}

# Sign-in: local accounts, and single sign-on where the environment names a provider.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "portal.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = (
    "none"  # addresses come from IT or from the identity provider, which checked them
)
ACCOUNT_UNIQUE_EMAIL = False  # our adapter refuses a taken address; allauth would offer to type another
ACCOUNT_SESSION_REMEMBER = False
# A whole company may sign in from one address; one account may not be guessed at.
ACCOUNT_RATE_LIMITS = {
    "login": "600/m/ip",
    "login_failed": "60/m/ip,5/5m/key",
    "change_password": "5/m/user",
    "verify_receipt": "120/m/ip",  # open to everybody; a check takes a millisecond
}
SOCIALACCOUNT_ADAPTER = "portal.accounts.adapters.SocialAccountAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # an equal address does not make it the same person
SOCIALACCOUNT_PROVIDERS = sso.providers(ENV)
INSTALLED_APPS += [f"allauth.socialaccount.providers.{name}" for name in SOCIALACCOUNT_PROVIDERS]

# Security
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [ENV.public_url]
# Nothing from another host, no script in a page. Where forms may lead stays open, since
# signing in leads to the identity provider and Chrome follows redirects when it checks.
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "style-src": [CSP.SELF, CSP.UNSAFE_INLINE],
    "img-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https"
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

# Petridish
INSTALLATION_ID = ENV.secrets.installation
LEDGER_KEY = ENV.secrets.ledger.encode()
SANDBOX_KEY = ENV.secrets.sandbox.encode()
TEMPLATES_ROOT = env.ROOT / "k8s-templates"
CLUSTER_NAME = ENV.cluster_name
KUBECONFIG = ENV.kubeconfig
KUBE_CONTEXT = ENV.kube_context
KUBE_USER_PREFIX = ENV.kube_user_prefix
LEDGER_ANCHOR = ENV.data_dir / "ledger-head.json"
WORKSPACE_IMAGE = ENV.workspace_image
IMAGE_REGISTRIES = ENV.image_registries
IMAGE_DIGESTS_REQUIRED = ENV.image_digests_required
INDEX_URL = ENV.index_url
PUBLIC_URL = ENV.public_url
PROVISION_DEADLINE = timedelta(minutes=10)
WORKER_HANDS = 24  # sandboxes that one worker process works on at the same time
PROBE_EVERY = ENV.engine.probe_every
PROBE_IMAGE = ENV.engine.probe_image
PROBE_OUTSIDE = ENV.engine.probe_outside
PROBE_DNS = ENV.engine.probe_dns
PROBE_TARGETS = ENV.engine.probe_targets
OBSERVE_EVERY = ENV.engine.observe_every
ORPHAN_GRACE = ENV.engine.orphan_grace
STUCK_AFTER = ENV.engine.stuck_after
INVENTORY_EVERY = ENV.engine.inventory_every
HONEYTOKEN_ACTION = ENV.engine.honeytoken_action
POLICY_LOG_TOKEN = ENV.engine.policy_log_token
EGRESS_PROXY_URL = ENV.egress_proxy_url  # empty: there is no egress proxy
SCREENING_FEEDS = ENV.feeds
INDEX_FILES = ENV.data_dir / "index"  # the index's storage, where it is a folder of this machine

# Celery: the queue is a hint; see portal/celery.py.
CELERY_BROKER_URL = ENV.broker_url

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
