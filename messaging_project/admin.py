"""Who the staff are, and the audit trail: what they did, who and when."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.utils.html import format_html

from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly
from providers.admin_actions import CheckedActions

admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(CheckedActions, UserAdmin):
    """As Django has it, with the manners of the other lists."""


@admin.register(Group)
class RoleAdmin(CheckedActions, GroupAdmin):
    """As Django has it, with the manners of the other lists."""


class AuthorFilter(admin.RelatedFieldListFilter):
    """Narrows the trail to one person of those who are in it: asked of every person, not of every line."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        """Return who can be chosen."""
        did_something = Q(Exists(LogEntry.objects.filter(user=OuterRef("pk"))))
        return field.get_choices(include_blank=False, ordering=("username",), limit_choices_to=did_something)


@admin.register(LogEntry)
class AuditTrailAdmin(ReadOnly, admin.ModelAdmin):
    """Read only: whoever could change it could hide in it."""

    title = "Audit trail"
    list_display = ("action_time", "user", "kind", "linked", "what")
    list_display_links = None
    list_filter = (("user", AuthorFilter), "action_time")
    search_fields = ("object_repr", "change_message", "=object_id")
    list_select_related = ("user", "content_type")
    date_hierarchy = "action_time"
    ordering = ("-action_time", "-id")
    paginator = CappedPaginator
    show_full_result_count = False

    @admin.display(description="of", ordering="content_type")
    def kind(self, entry: LogEntry) -> str:
        """Return what kind of thing it was done to."""
        return entry.content_type.name if entry.content_type else "–"

    @admin.display(description="to")
    def linked(self, entry: LogEntry) -> str:
        """Return what it was done to, with a link while that is there."""
        url = None if entry.is_deletion() else entry.get_admin_url()
        return format_html('<a href="{}">{}</a>', url, entry.object_repr) if url else entry.object_repr

    @admin.display(description="what was done")
    def what(self, entry: LogEntry) -> str:
        """Return it in words."""
        return entry.get_change_message() or entry.get_action_flag_display()
