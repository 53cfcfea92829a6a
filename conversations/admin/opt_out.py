"""Opt-outs in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from conversations.addresses import InvalidAddress
from conversations.admin.paging import CappedPaginator
from conversations.admin.reading import ReadOnly
from conversations.api.opt_outs import normalised
from conversations.models import OptOut


class OptOutForm(ModelForm):
    """What staff write down for somebody who asked by phone or in person."""

    class Meta:
        model = OptOut
        fields = ("channel_type", "our_address", "their_address")

    def clean(self) -> dict[str, Any]:
        """Normalise both addresses as messages have them."""
        cleaned = super().clean() or {}
        for name in ("our_address", "their_address"):
            if name in cleaned and "channel_type" in cleaned:
                try:
                    cleaned[name] = normalised(cleaned[name], cleaned["channel_type"], is_ours=name == "our_address")
                except InvalidAddress as error:
                    self.add_error(name, str(error))
        return cleaned


@admin.register(OptOut)
class OptOutAdmin(ReadOnly, admin.ModelAdmin):
    """Who wants nothing more. Staff can add one and lift one; neither is ever deleted."""

    form = OptOutForm
    list_display = ("their_address", "our_address", "channel_type", "source", "opted_out_at", "lifted_at", "lifted_by")
    list_filter = ("channel_type", "source", "test", ("lifted_at", admin.EmptyFieldListFilter))
    search_fields = ("their_address", "our_address")
    ordering = ("-opted_out_at", "-id")
    actions = ("lift",)
    readonly_fields = ("source", "opted_out_at", "lifted_at", "lifted_by")
    paginator = CappedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has the permission of that name."""
        return request.user.has_perm("conversations.add_optout")

    def has_lift_permission(self, request: HttpRequest) -> bool:
        """Whoever may change opt-outs."""
        return request.user.has_perm("conversations.change_optout")

    def save_model(self, request: HttpRequest, obj: OptOut, form: Any, change: bool) -> None:
        """Let it hold from now on; where one holds already, that is it."""
        held = OptOut.objects.opt_out(obj.channel_type, obj.our_address, obj.their_address, source=OptOut.Source.STAFF)
        obj.pk, obj.opted_out_at, obj.source = held.pk, held.opted_out_at, held.source

    @admin.action(description="Lift: messages may be sent again", permissions=["lift"])
    def lift(self, request: HttpRequest, opt_outs: QuerySet[OptOut]) -> None:
        """End the chosen ones that hold, and write down who did."""
        held = list(opt_outs.filter(lifted_at__isnull=True))
        count = OptOut.objects.filter(pk__in=[each.pk for each in held]).lift(source=OptOut.Source.STAFF)
        for each in held:
            self.log_change(request, each, "Lifted.")
        messages.success(request, f"Lifted: {count}.")
