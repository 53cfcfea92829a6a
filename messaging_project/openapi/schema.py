"""From the table of operations to OpenAPI 3, by drf-spectacular."""

import json
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from conversations.api.fields import Attachment, Metadata, Moment, Shape
from messaging_project.openapi import answers
from messaging_project.openapi.operations import OPERATIONS, JSONSchema, Operation

JSON, PROBLEM_JSON = "application/json", "application/problem+json"
ALWAYS_POSSIBLE = (401, 403, 406, 429, 503)
WITH_A_BODY = (400, 411, 413, 415, 422)
PROBLEMS = {
    400: "What came can't be read, or can't be done.",
    401: "No key, or one that is not taken.",
    403: "The key lacks the scope, or a message is of somebody else's address.",
    404: "There is no such thing, or it is somebody else's.",
    406: "The answer is JSON; the request's Accept header wants something else.",
    409: "Not in the state that it is in.",
    410: "It was deleted since.",
    411: "The body came without its length.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "Something in it is wrong; each thing is listed in `errors`.",
    429: "Too many requests in this minute.",
    503: "The database or the storage is away for a moment; nothing was done.",
}
GOOD = {200: "Done.", 201: "Made.", 204: "Done.", 207: "A result for each."}
# What stands for an id in a path, in an example.
EXAMPLE_ID = "0199b5e0-7c1d-7a35-9d5b-3f2f8b6f0a11"
IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="The same key and body make one message, however often they come, for 7 days.",
    type={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
)


class Schema(AutoSchema):
    """Describes a view's method by its row in the table."""

    @property
    def row(self) -> Operation:
        """The row."""
        return OPERATIONS[type(self.view), self.method]

    def is_excluded(self) -> bool:
        """What has no row is not shown: the doors of providers are theirs."""
        return (type(self.view), self.method) not in OPERATIONS

    def get_operation_id(self) -> str:
        """The row's name."""
        return self.row.name

    def get_summary(self) -> str:
        """The row's."""
        return self.row.summary

    def get_description(self) -> str:  # type: ignore[override]  # the library's own signature is this one
        """What the method promises, the scope that it takes, and an example."""
        doc = getattr(self.view, self.method.lower()).__doc__ or ""
        promise = "\n".join(line.strip() for line in doc.strip().splitlines())
        scope = cast(Any, self.view).scopes[self.method]
        example = curl(self.row, self.method, self.path)
        return f"{promise}\n\nScope: `{scope}`\n\n```bash\n{example}\n```"

    def get_tags(self) -> list[str]:
        """The row's."""
        return [self.row.tag]

    def get_auth(self) -> list[dict[str, list[str]]]:
        """A key, in either header."""
        return [{"bearer": []}, {"apiKey": []}]

    def get_request_serializer(self) -> Any:
        """The row's body."""
        return self.row.body

    def map_parsers(self) -> list[Any]:
        """JSON."""
        return [JSON]

    def map_renderers(self, attribute: str) -> list[Any]:
        """JSON."""
        return [JSON]

    def get_response_serializers(self) -> Any:
        """The row's answers, and every problem that can be met."""
        row = self.row
        found: dict[Any, Any] = {}
        for status, answer in row.answers.items():
            if answer is None and status == 200:
                found[status, "*/*"] = OpenApiResponse(OpenApiTypes.BINARY, description="The file.")
            else:
                found[status, JSON] = OpenApiResponse(answer, description=GOOD[status])
        for status in sorted(problems_of(row, self.path)):
            found[status, PROBLEM_JSON] = OpenApiResponse(answers.Problem, description=PROBLEMS[status])
        return found

    def get_examples(self) -> list[OpenApiExample]:
        """The row's body."""
        row = self.row
        return [OpenApiExample(row.name, value=row.example, request_only=True)] if row.example is not None else []

    def get_override_parameters(self) -> list[Any]:
        """The row's query, and the header of what can be asked twice."""
        query = [asked(self.row, name, schema) for name, schema in self.row.query.items()]
        return [*query, *([IDEMPOTENCY_KEY] if self.row.is_idempotent else [])]

    def _resolve_path_parameters(self, variables: list[str]) -> list[JSONSchema]:
        kinds = {"provider": {"type": "string", "enum": ["twilio", "sendgrid"]}}
        an_id = {"type": "string", "format": "uuid"}
        return [{"in": "path", "name": name, "required": True, "schema": kinds.get(name, an_id)} for name in variables]


def asked(row: Operation, name: str, schema: JSONSchema) -> OpenApiParameter:
    """A parameter of an operation's query, with its value in the example where it has one."""
    example = dict(parse_qsl(row.asks)).get(name)
    if example:
        schema = {**schema, "example": int(example) if schema["type"] == "integer" else example}
    return OpenApiParameter(name=name, type=cast(Any, schema))


def problems_of(row: Operation, path: str) -> set[int]:
    """Which problems an operation can meet."""
    found = {*ALWAYS_POSSIBLE, *row.problems}
    found |= {*WITH_A_BODY} if row.body else set()
    found |= {422} if row.query or row.is_idempotent else set()
    return found | ({404} if "{" in path else set())


def curl(row: Operation, method: str, path: str) -> str:
    """An example of an operation as a command."""
    target = "/".join(EXAMPLE_ID if part.startswith("{") else quote(part) for part in path.split("/"))
    target = target.replace(f"status/{EXAMPLE_ID}", "status/twilio")
    lines = [f"curl -X {method} '{settings.PUBLIC_URL}{target}{'?' if row.asks else ''}{row.asks}'"]
    lines.append('-H "Authorization: Bearer $SWITCHBOARD_KEY"')
    if row.example is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(row.example)}'"]
    return " \\\n  ".join(lines)


class MomentField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A time is text in RFC 3339."""

    target_class = Moment

    def map_serializer_field(self, auto_schema: Any, direction: str) -> JSONSchema:
        """As JSON Schema."""
        return {"type": "string", "format": "date-time"}


class MetadataField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Metadata is an object of anything."""

    target_class = Metadata

    def map_serializer_field(self, auto_schema: Any, direction: str) -> JSONSchema:
        """As JSON Schema."""
        return {"type": "object", "additionalProperties": {}, "maxProperties": 50}


class AttachmentField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """An attachment is an https URL."""

    target_class = Attachment

    def map_serializer_field(self, auto_schema: Any, direction: str) -> JSONSchema:
        """As JSON Schema."""
        return {"type": "string", "pattern": "^https://", "maxLength": 2048}


def paths_of_the_api(endpoints: list[Any], **_: Any) -> list[Any]:
    """Hook: the API's paths only, each once, without the slash that may follow."""
    return [
        (path.removesuffix("?").rstrip("/"), regex, method, callback)
        for path, regex, method, callback in endpoints
        if path.startswith("/api/v1/")
    ]


def closed_bodies(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Hook: bodies take no unknown members, but for those that they say to ignore; choices need no list beside them."""
    shapes = {row.body.__name__: row.body for row in OPERATIONS.values() if row.body}
    for name, shape in shapes.items():
        described = result["components"]["schemas"].get(name.removesuffix("Serializer"))
        if described is not None:
            described["additionalProperties"] = False
            described.pop("description", None)  # what it is in the code
            ignored = shape.ignored if issubclass(shape, Shape) else ()
            described["properties"] |= {each: {"description": "Accepted and ignored."} for each in ignored}
    for described in result["components"]["schemas"].values():
        for each in described.get("properties", {}).values():
            if "x-spec-enum-id" in each:
                del each["x-spec-enum-id"], each["description"]
    return result
