"""What the service offers, as an OpenAPI 3.1 document and as a page for people."""

from __future__ import annotations

import html
from typing import Any, get_args

import everymask
from everymask.serving.forms import Form, Masks

_PICTURE = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        },
    },
}
_FORM = {"required": True, "content": {"multipart/form-data": {"schema": {"type": "object"}}}}
_JSON = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
_REFUSALS = {
    "400": "a parameter or the form cannot be read",
    "401": "a key is wanted",
    "404": "there is no such model",
    "408": "the body came too slowly",
    "413": "too many bytes or pixels",
    "415": "no picture, or a packed body",
    "422": "the picture is damaged, or not as the model takes it",
    "503": "too busy to answer in time; retry-after says when to come back",
    "504": "its turn did not come in time",
}


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for method, path, about, parameters, body in _offers():
        operation: dict[str, Any] = {
            "summary": about,
            "responses": {"200": {"description": "the answer"}} | _refusals(body is not None),
        }
        places = [name.strip("{}") for name in path.split("/") if name.startswith("{")]
        operation["parameters"] = [_parameter(name, "path", {"type": "string"}) for name in places] + parameters
        if body is not None:
            operation["requestBody"] = body
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "everymask", "version": everymask.__version__, "description": "Masks on pictures."},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def page() -> str:
    """The document as one page of HTML without a script."""
    rows = []
    for path, operations in document()["paths"].items():
        for method, said in operations.items():
            parameters = "".join(
                f"<li><code>{html.escape(each['name'])}</code> {html.escape(_about(each['schema']))}</li>"
                for each in said["parameters"]
            )
            rows.append(
                f"<section><h2><span>{method.upper()}</span> <code>{html.escape(path)}</code></h2>"
                f"<p>{html.escape(said['summary'])}</p><ul>{parameters}</ul></section>"
            )
    refusals = "".join(f"<li><b>{status}</b> {text}</li>" for status, text in _REFUSALS.items())
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1b2733}"
        "h2{font-size:1rem;margin:1.5rem 0 .3rem}h2 span{background:#1f5f99;color:#fff;border-radius:.3rem;"
        "padding:.1rem .4rem;font-size:.8rem}p,ul{margin:.3rem 0}code{overflow-wrap:anywhere}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>everymask: addresses</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{style}</style></head><body><main>'
        '<h1>What this service answers</h1><p><a href="/openapi.json">openapi.json</a> says the same to programs; '
        f'<a href="/">the page</a> is for pictures by hand.</p>{"".join(rows)}<h2>Refusals</h2><ul>{refusals}</ul>'
        "</main></body></html>"
    )


def _offers() -> list[tuple[str, str, str, list[dict[str, Any]], dict[str, Any] | None]]:
    query = [
        _parameter("model", "query", {"type": "string"}),
        _parameter("format", "query", {"type": "string", "enum": list(get_args(Form)), "default": "json"}),
        _parameter("masks", "query", {"type": "string", "enum": list(get_args(Masks)), "default": "rle"}),
        _parameter("min_score", "query", {"type": "number", "minimum": 0, "maximum": 1, "default": 0}),
        _parameter("timeout", "query", {"type": "number", "minimum": 0}),
    ]
    return [
        ("post", "/v1/predict", "What a model sees in a picture.", query, _PICTURE),
        (
            "post",
            "/v1/batch",
            "Many pictures, the files of a form; a line of JSON for each.",
            query[:1] + query[2:4],
            _FORM,
        ),
        ("post", "/v1/sessions", "Look at a picture, to be asked about it.", [query[0], query[4]], _PICTURE),
        ("post", "/v1/sessions/{session}/prompt", "What points and boxes point at.", query[1:], _JSON),
        ("post", "/v1/sessions/{session}/undo", "Take back the last prompt.", query[1:], None),
        ("post", "/v1/sessions/{session}/reset", "Begin with new objects.", [], None),
        ("delete", "/v1/sessions/{session}", "Forget the picture.", [], None),
        ("get", "/v1/models", "The models, with classes, versions and licences.", [], None),
        ("post", "/v1/models/{name}/reload", "Load a model's file anew where it has changed.", [], None),
        ("get", "/healthz", "Whether the service lives.", [], None),
        ("get", "/readyz", "Whether it takes requests.", [], None),
        ("get", "/metrics", "Counters and times for Prometheus.", [], None),
        ("get", "/v2", "Open Inference Protocol: what this server is.", [], None),
        ("get", "/v2/health/live", "Open Inference Protocol: whether it lives.", [], None),
        ("get", "/v2/health/ready", "Open Inference Protocol: whether it takes requests.", [], None),
        ("get", "/v2/models/{name}", "Open Inference Protocol: what a model takes and gives.", [], None),
        ("get", "/v2/models/{name}/ready", "Open Inference Protocol: whether there is such a model.", [], None),
        ("post", "/v2/models/{name}/infer", "Open Inference Protocol: one picture, as BYTES or UINT8.", [], _JSON),
        ("post", "/label-studio/predict", "Label Studio: regions for tasks.", query[:1], _JSON),
        ("post", "/label-studio/setup", "Label Studio: which version answers.", query[:1], _JSON),
        ("get", "/label-studio/health", "Label Studio: that it is there.", [], None),
        ("post", "/label-studio/webhook", "Label Studio: what it tells, which is not used.", [], _JSON),
        ("get", "/api/functions", "CVAT: the models as functions.", [], None),
        ("get", "/api/functions/{name}", "CVAT: one model as a function.", [], None),
        ("post", "/api/function_invocations", "CVAT: the objects of a frame.", [], _JSON),
    ]


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _about(schema: dict[str, Any]) -> str:
    words = ", ".join(schema["enum"]) if "enum" in schema else schema["type"]
    return f"{words} (usually {schema['default']})" if "default" in schema else words


def _refusals(brings: bool) -> dict[str, Any]:
    shown = {status: {"description": text} for status, text in _REFUSALS.items()}
    return shown if brings else {"401": shown["401"]}
