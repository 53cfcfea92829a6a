"""Settings of the yardsticks, as a new project has them. Of middleware only what writes Content-Length is left."""

import environ

env = environ.Env()

SECRET_KEY: str = env.str("SECRET_KEY")
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["rest_framework", "messaging_project.benchmarks.yardsticks"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "messaging_project.benchmarks.yardsticks.urls"
# Kept for as long as ours: connections made anew for each request would cost the naive design five sixths of its speed.
DATABASES = {"default": {**env.db("YARDSTICK_DATABASE_URL"), "CONN_MAX_AGE": None}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
YARDSTICK_BROKER_URL: str = env.str("YARDSTICK_BROKER_URL")
TWILIO_ACCOUNT_SID: str = env.str("TWILIO_ACCOUNT_SID")
TWILIO_AUTH_TOKEN: str = env.str("TWILIO_AUTH_TOKEN")
TWILIO_BASE_URL: str = env.str("TWILIO_BASE_URL")
