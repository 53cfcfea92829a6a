"""Pages of lists that may be long: nobody waits for two million rows to be counted."""

from typing import cast

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

COUNTED_AT_MOST = 10_000


class AtLeast(int):
    """A number of rows that was not counted to its end: it calculates as 10000 and reads as 10,000+."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class CappedPaginator(Paginator):
    """Counts at most COUNTED_AT_MOST rows; what lies beyond is found by search and filters, not by turning pages.

    For `ModelAdmin.paginator`, together with `show_full_result_count = False`.
    """

    @cached_property
    def count(self) -> int:
        """How many rows there are, at least."""
        rows = cast(QuerySet, self.object_list).order_by()
        found = rows[: COUNTED_AT_MOST + 1].count()
        return found if found <= COUNTED_AT_MOST else AtLeast(COUNTED_AT_MOST)
