"""The API described for programs and people: OpenAPI 3 at /api/schema, a page that needs no network at /api/docs.

`operations` is the table of what there is, `answers` what comes back, `schema` turns both into OpenAPI, `pages` serves.
"""
