"""The doors' paths; each answers with and without its trailing slash."""

from django.urls import re_path

from webhooks.views import DoorStatusView, SendGridView, TwilioView

urlpatterns = [
    re_path(r"^twilio/?$", TwilioView.as_view()),
    re_path(r"^sendgrid/?$", SendGridView.as_view()),
    re_path(r"^status/(?P<provider>[^/]+)/?$", DoorStatusView.as_view()),
]
