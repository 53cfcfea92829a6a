"""Filters of lists that may be long: what can be chosen is known, and not asked of every row."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers import routes


class KnownValuesFilter(admin.SimpleListFilter):
    """Narrows a list to the rows whose field, called as the parameter is, has one of the values in `known`."""

    known: Sequence[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what can be chosen."""
        return [(value, value) for value in self.known]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return those with the chosen value."""
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class AccountFilter(KnownValuesFilter):
    """Narrows a list to what belongs to one account."""

    title = "account"
    parameter_name = "provider"
    known = routes.account_names()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what can be chosen, as staff read it."""
        return [(name, routes.label_of(name)) for name in self.known]
