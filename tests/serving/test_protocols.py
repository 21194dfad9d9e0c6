"""What other programs speak: lists of pictures, the Open Inference Protocol, Label Studio and CVAT."""

from __future__ import annotations

import base64
import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from everymask.core.masks import Masks
from everymask.data.formats.label_studio.rle import mask_from_brush
from tests.grey_model import STEP
from tests.serving.served import IDS, PICTURE, client_of, service_with

BASE64 = base64.b64encode(PICTURE).decode()
CONFIG = (
    '<View><Image name="img" value="$photo"/><{0} name="tag" toName="img">'
    '<Label value="road"/><Label value="sky"/></{0}></View>'
)
BRUSH = CONFIG.format("BrushLabels")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(service_with()) as client:
        yield client


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_list_of_pictures_is_answered_line_by_line_in_its_order(client: TestClient) -> None:
    files = [("f", (f"p{place}.png", PICTURE if place != 3 else b"damaged")) for place in range(9)]
    answer = client.post("/v1/batch?masks=none", files=files)
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = lines(answer.text)
    assert [(row["index"], row["file"]) for row in rows] == [(place, f"p{place}.png") for place in range(9)]
    assert [row["index"] for row in rows if "error" in row] == [3]
    assert rows[3]["error"]["status"] == 422
    assert [entry["area"] for entry in rows[8]["objects"]] == [18, 36, 18]


def test_a_list_waits_for_room_in_place_of_being_refused() -> None:
    """More pictures than the budget has time for, one after the other."""
    service = service_with(budget=2.0, workers=1)
    service.shelf.slot(None).current.seconds = 1.9
    with client_of(service) as client:
        rows = lines(client.post("/v1/batch", files=[("f", PICTURE)] * 6).text)
        assert len(rows) == 6 and all("map" in row for row in rows)
        assert service.line.inside == 0


def test_a_list_may_hold_files_that_are_too_large() -> None:
    with client_of(service_with(max_body=len(PICTURE))) as client:
        rows = lines(client.post("/v1/batch", files=[("f", PICTURE), ("f", PICTURE + b"x")]).text)
        assert ("map" in rows[0], rows[1]["error"]["status"]) == (True, 413)
    with client_of(service_with(max_batch=100)) as client:
        assert client.post("/v1/batch", files=[("f", PICTURE)]).status_code == 413


def test_the_open_inference_protocol_tells_of_models(client: TestClient) -> None:
    assert client.get("/v2").json()["name"] == "everymask"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == client.get("/v2/models/grey/ready").json() == {"ready": True}
    said = client.get("/v2/models/grey").json()
    assert said["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [1]}]
    assert said["parameters"]["classes"] == ["ground", "road", "sky"]
    answer = client.get("/v2/models/other")
    assert answer.status_code == 404 and "there are: grey" in answer.json()["error"]


def asked_openly(kind: str) -> dict[str, Any]:
    """The same picture in every way that the protocol has."""
    pixels = (IDS * STEP).astype(np.uint8)
    text = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [BASE64]}
    numbers = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.tolist()}
    match kind:
        case "text":
            return {"json": {"id": "7", "inputs": [text]}}
        case "numbers":
            return {"json": {"inputs": [numbers]}}
        case "colour":
            shape = [1, *pixels.shape, 3]
            grey = {**numbers, "shape": shape, "data": np.repeat(pixels.ravel(), 3).tolist()}
            return {"json": {"inputs": [grey]}}
    data = struct.pack("<I", len(PICTURE)) + PICTURE if kind == "binary text" else pixels.tobytes()
    tensor = dict(text if kind == "binary text" else numbers)
    del tensor["data"]
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}]}).encode()
    return {"content": head + data, "headers": {"inference-header-content-length": str(len(head))}}


@pytest.mark.parametrize("kind", ["text", "numbers", "colour", "binary text", "binary numbers"])
def test_the_open_inference_protocol_predicts(client: TestClient, kind: str) -> None:
    answer = client.post("/v2/models/grey/infer", **asked_openly(kind))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["model_name"], said.get("id")) == ("grey", "7" if kind == "text" else None)
    tensors = {tensor["name"]: tensor for tensor in said["outputs"]}
    assert tensors["class_ids"]["data"] == [0, 1, 2]
    assert tensors["boxes"]["shape"] == [3, 4] and len(tensors["boxes"]["data"]) == 12
    masks = Masks.from_rle(tensors["masks"]["data"], tuple(tensors["size"]["data"]))
    for row in range(3):
        np.testing.assert_array_equal(masks.to_dense(row), row == IDS)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"inputs": []},
        {"inputs": [{"datatype": "FP32", "data": [1]}]},
        {"inputs": [{"datatype": "BYTES", "data": ["ä"]}]},
        {"inputs": [{"datatype": "UINT8", "shape": [2, 2], "data": [1, 2, 3]}]},
        {"inputs": [{"datatype": "UINT8", "shape": [10**9, 10**9], "data": [1]}]},
        {"inputs": [{"datatype": "UINT8", "shape": "x", "data": [999]}]},
        {"inputs": [{"datatype": "BYTES", "data": [BASE64]}], "outputs": [{"name": "other"}]},
    ],
    ids=str,
)
def test_the_open_inference_protocol_refuses_with_a_text(client: TestClient, asked: dict[str, Any]) -> None:
    answer = client.post("/v2/models/grey/infer", json=asked)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


def test_label_studio_gets_its_regions(client: TestClient) -> None:
    assert client.get("/label-studio/health").json()["status"] == "UP"
    assert client.post("/label-studio/setup", json={}).json() == {"model_version": "1"}
    assert client.post("/label-studio/webhook", json={}).status_code == 201
    task = {"id": 1, "data": {"photo": f"data:image/png;base64,{BASE64}"}}
    found: dict[str, list[dict[str, Any]]] = {}
    for tag in ("BrushLabels", "PolygonLabels", "RectangleLabels"):
        asked = {"tasks": [task, task], "label_config": CONFIG.format(tag)}
        said = client.post("/label-studio/predict", json=asked).json()
        assert len(said["results"]) == 2
        found[tag] = said["results"][1]["result"]
        for region in found[tag]:
            assert (region["from_name"], region["to_name"], region["original_width"]) == ("tag", "img", 12)
        assert [region["value"][tag.lower()] for region in found[tag]] == [["road"], ["sky"]]
    brush = mask_from_brush(found["BrushLabels"][0]["value"]["rle"], (6, 12))
    np.testing.assert_array_equal(brush, IDS == 1)
    assert found["RectangleLabels"][0]["value"] | {"rectanglelabels": 0} == {
        "x": 25, "y": 0, "width": 50, "height": 100, "rotation": 0, "rectanglelabels": 0
    }  # fmt: skip
    assert sorted(found["PolygonLabels"][1]["value"]["points"]) == [[75, 0], [75, 100], [100, 0], [100, 100]]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"tasks": []}, 400, "label_config"),
        ({"tasks": [], "label_config": "<View>"}, 400, "not XML"),
        ({"tasks": [], "label_config": "<!DOCTYPE x><View/>"}, 400, "DTD"),
        ({"tasks": [], "label_config": "<View/>"}, 400, "BrushLabels"),
        ({"tasks": [], "label_config": BRUSH.replace("road", "x").replace("sky", "y")}, 400, "x, y"),
        ({"tasks": {}, "label_config": BRUSH}, 400, "list"),
        ({"tasks": [{"data": {}}], "label_config": BRUSH}, 400, "data.photo"),
        ({"tasks": [{"data": {"photo": "http://169.254.1.1/x"}}], "label_config": BRUSH}, 422, "169"),
        ({"tasks": [{"data": {"photo": "/etc/passwd"}}], "label_config": BRUSH}, 422, "alone"),
    ],
)  # fmt: skip
def test_what_label_studio_cannot_have(client: TestClient, asked: dict[str, Any], status: int, said: str) -> None:
    answer = client.post("/label-studio/predict", json=asked)
    assert answer.status_code == status
    assert said in answer.text


def test_pictures_are_fetched_from_label_studio_with_its_token_and_from_nowhere_else() -> None:
    seen: list[tuple[str, str | None]] = []

    class Studio(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["authorization"]))
            moved = self.path.startswith("/moved")
            self.send_response(302 if moved else 200)
            if moved:
                self.send_header("location", "http://127.0.0.1:9/secret")
            self.end_headers()
            self.wfile.write(PICTURE)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Studio) as studio:
        threading.Thread(target=studio.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{studio.server_port}"
        with client_of(service_with(label_studio=base, label_studio_token="t0ken")) as client:

            def asked(photo: str) -> int:
                said = {"tasks": [{"data": {"photo": photo}}], "label_config": BRUSH}
                return client.post("/label-studio/predict", json=said).status_code

            assert asked("/data/upload/1/p.png") == asked(f"{base}/data/p.png") == 200
            assert asked(f"{base}.evil.example/p.png") == asked("file:///etc/passwd") == 422
            assert asked("/moved/p.png") == 502
        studio.shutdown()
    assert seen[:2] == [("/data/upload/1/p.png", "Token t0ken"), ("/data/p.png", "Token t0ken")]


def test_cvat_finds_functions_and_calls_them(client: TestClient) -> None:
    functions = client.get("/api/functions").json()
    assert functions["grey"] == client.get("/api/functions/grey").json()
    annotations = functions["grey"]["metadata"]["annotations"]
    assert annotations["type"] == "detector"
    assert [label["name"] for label in json.loads(annotations["spec"])] == ["ground", "road", "sky"]
    headers = {"x-nuclio-function-name": "grey", "x-nuclio-path": "/"}
    asked = {"image": BASE64, "threshold": 0.3}
    rows = client.post("/api/function_invocations", json=asked, headers=headers).json()
    assert [row["label"] for row in rows] == ["ground", "road", "sky"]
    *pixels, left, top, right, bottom = rows[1]["mask"]
    assert (rows[1]["type"], left, top, right, bottom) == ("mask", 3, 0, 8, 5)
    np.testing.assert_array_equal(np.reshape(pixels, (6, 6)), (IDS == 1)[top : bottom + 1, left : right + 1])
    for wrong in ({}, {"image": "?"}, {"image": BASE64, "threshold": 2}):
        assert client.post("/api/function_invocations", json=wrong, headers=headers).status_code == 400
    assert (
        client.post("/api/function_invocations", json=asked, headers={"x-nuclio-function-name": "x"}).status_code == 404
    )
