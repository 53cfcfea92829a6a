"""How the admin writes times: short enough for a column, and without a.m. and p.m. They are UTC, as everything here."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j M Y H:i"
