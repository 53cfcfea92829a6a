"""The API's paths; each answers with and without its trailing slash."""

from django.urls import re_path

from conversations.api.batch import BatchView
from conversations.api.conversations import (
    ConversationListView,
    ConversationMessagesView,
    ConversationReadView,
    ConversationSearchView,
    ConversationView,
)
from conversations.api.media import MediaView
from conversations.api.messages import (
    MessageCancelView,
    MessageEventsView,
    MessageRetryView,
    MessageStatusView,
    MessageView,
)
from conversations.api.opt_outs import OptOutListView, OptOutView
from conversations.api.preview import PreviewView
from conversations.api.send import MessageListView, SendView

ID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

urlpatterns = [
    re_path(r"^messages/?$", MessageListView.as_view()),
    re_path(r"^messages/send/?$", SendView.as_view()),
    re_path(r"^messages/batch/?$", BatchView.as_view()),
    re_path(r"^messages/preview/?$", PreviewView.as_view()),
    re_path(rf"^messages/(?P<message_id>{ID})/?$", MessageView.as_view()),
    re_path(rf"^messages/(?P<message_id>{ID})/status/?$", MessageStatusView.as_view()),
    re_path(rf"^messages/(?P<message_id>{ID})/retry/?$", MessageRetryView.as_view()),
    re_path(rf"^messages/(?P<message_id>{ID})/cancel/?$", MessageCancelView.as_view()),
    re_path(rf"^messages/(?P<message_id>{ID})/events/?$", MessageEventsView.as_view()),
    re_path(r"^conversations/?$", ConversationListView.as_view()),
    re_path(r"^conversations/search/?$", ConversationSearchView.as_view()),
    re_path(rf"^conversations/(?P<conversation_id>{ID})/read/?$", ConversationReadView.as_view()),
    re_path(rf"^conversations/(?P<conversation_id>{ID})/?$", ConversationView.as_view()),
    re_path(rf"^conversations/(?P<conversation_id>{ID})/messages/?$", ConversationMessagesView.as_view()),
    re_path(r"^opt-outs/?$", OptOutListView.as_view()),
    re_path(rf"^opt-outs/(?P<opt_out_id>{ID})/?$", OptOutView.as_view()),
    re_path(rf"^media/(?P<media_id>{ID})/?$", MediaView.as_view()),
]
