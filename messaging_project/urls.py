"""The map. Every path of the API and the probes answers with and without a trailing slash."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from conversations.sent_files import sent_file
from conversations.unsubscribe import unsubscribe
from messaging_project import health
from messaging_project.metrics import metrics
from messaging_project.openapi.pages import DocsView, SchemaView, index

urlpatterns = [
    path("", index),
    path("favicon.ico", RedirectView.as_view(url=static("messaging_project/icon.svg"))),
    re_path(r"^api/v1/?$", index),
    re_path(r"^api/schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^api/docs/?$", DocsView.as_view(url_name="schema")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("conversations.api.urls")),
    path("api/v1/", include("webhooks.urls")),
    re_path(r"^unsubscribe/(?P<token>[A-Za-z0-9]{1,100})/?$", unsubscribe),
    re_path(r"^media/(?P<token>[A-Za-z0-9:_-]{1,200})/?$", sent_file),
    re_path(r"^live/?$", health.live),
    re_path(r"^startup/?$", health.live),
    re_path(r"^ready/?$", health.ready),
    re_path(r"^health/?$", health.health),
    re_path(r"^dependencies/?$", health.dependencies),
    re_path(r"^metrics/?$", metrics),
]
