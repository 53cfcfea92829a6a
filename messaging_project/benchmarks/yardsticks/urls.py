"""The paths of the yardsticks."""

from django.urls import path

from messaging_project.benchmarks.yardsticks.naive import SendView
from messaging_project.benchmarks.yardsticks.views import HelloView, NothingView, ValidateView

urlpatterns = [
    path("hello", HelloView.as_view()),
    path("validate", ValidateView.as_view()),
    path("naive", SendView.as_view()),
    path("nothing", NothingView.as_view()),
]
