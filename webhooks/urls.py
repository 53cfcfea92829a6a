"""The paths of the doors, and those of subscriptions; each answers with and without its trailing slash."""

from django.urls import re_path

from conversations.api.urls import ID
from webhooks.subscriptions import (
    DeliveryListView,
    ReplayView,
    SecretView,
    SubscriptionListView,
    SubscriptionView,
)
from webhooks.views import DoorStatusView, SendGridView, TwilioView

ONE = rf"(?P<subscription_id>{ID})"

urlpatterns = [
    re_path(r"^webhooks/twilio/?$", TwilioView.as_view()),
    re_path(r"^webhooks/sendgrid/?$", SendGridView.as_view()),
    re_path(r"^webhooks/status/(?P<provider>[^/]+)/?$", DoorStatusView.as_view()),
    re_path(r"^subscriptions/?$", SubscriptionListView.as_view()),
    re_path(rf"^subscriptions/{ONE}/?$", SubscriptionView.as_view()),
    re_path(rf"^subscriptions/{ONE}/secret/?$", SecretView.as_view()),
    re_path(rf"^subscriptions/{ONE}/deliveries/?$", DeliveryListView.as_view()),
    re_path(rf"^subscriptions/{ONE}/replay/?$", ReplayView.as_view()),
]
