"""What a service answers: the same as in Python, in every form; and how it refuses."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from everymask.api import load
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError, WeightsError
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.serving.shelf import Origin, Shelf
from tests.grey_model import grey_model
from tests.serving.served import IDS, LABELS, PICTURE, Held, client_of, origin, png, service_with


@pytest.fixture(scope="module")
def finding(tiny: Path) -> Predictor:
    """A model that finds objects, as it comes."""
    return load(tiny, device="cpu", precision="exact")


@pytest.fixture(scope="module")
def client(finding: Predictor) -> Iterator[TestClient]:
    """A service with a model of each kind."""
    with client_of(service_with(("grey", grey_model(LABELS)), ("objects", finding))) as client:
        yield client


@pytest.fixture(scope="module")
def photo(shapes: Path) -> bytes:
    return next(iter(sorted((shapes / "images").rglob("*.png")))).read_bytes()


def array(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def test_objects_are_those_of_python(client: TestClient, finding: Predictor, photo: bytes) -> None:
    expected = finding.predict(photo)
    assert len(expected.instances) > 3
    answer = client.post("/v1/predict?model=objects", content=photo)
    assert answer.status_code == 200
    result = Result.from_json(answer.json(), expected.sample.image)
    assert result.instances.masks is not None and expected.instances.masks is not None
    assert result.instances.masks.to_rle() == expected.instances.masks.to_rle()
    np.testing.assert_array_equal(result.instances.scores, expected.instances.scores)
    np.testing.assert_array_equal(result.instances.boxes, expected.instances.boxes)
    np.testing.assert_array_equal(result.instances.class_ids, expected.instances.class_ids)


def test_label_maps_are_those_of_python(client: TestClient) -> None:
    answer = client.post("/v1/predict", files={"file": ("../../etc/p0.png", PICTURE)})
    result = Result.from_json(answer.json(), array(PICTURE)[..., None])
    np.testing.assert_array_equal(result.semantic.ids, IDS)
    assert (result.id, answer.headers["x-model-version"]) == ("p0", "grey@1")


def test_every_form_shows_the_same_objects(client: TestClient, finding: Predictor, photo: bytes) -> None:
    whole = finding.predict(photo).instances
    assert whole.scores is not None
    score = float(np.sort(whole.scores)[-3])
    expected = whole[whole.scores >= score]
    assert isinstance(expected, InstanceSet) and expected.masks is not None
    size, counts = expected.masks.size, expected.masks.to_rle()

    def asked(**query: Any) -> Any:
        answer = client.post("/v1/predict", params={"model": "objects", "min_score": score, **query}, content=photo)
        assert answer.status_code == 200, answer.text
        return answer

    coco = asked(format="coco").json()
    found = Masks.from_rle([entry["segmentation"]["counts"] for entry in coco["annotations"]], size)
    assert found.to_rle() == counts
    assert coco["images"] == [{"id": 1, "file_name": "picture", "height": size[0], "width": size[1]}]

    features = asked(format="geojson").json()["features"]
    shapes = [
        feature["geometry"]["coordinates"]
        if feature["geometry"]["type"] == "MultiPolygon"
        else [feature["geometry"]["coordinates"]]
        for feature in features
    ]
    drawn = Masks.from_parts([[[np.array(ring) for ring in part] for part in shape] for shape in shapes], size)
    assert drawn.to_rle() == [count for count, area in zip(counts, expected.masks.areas(), strict=True) if area]

    both = asked(masks="both").json()["objects"]
    again = Masks.from_parts([[[np.array(ring) for ring in part] for part in row["polygons"]] for row in both], size)
    assert again.to_rle() == counts == [row["mask"]["counts"].encode() for row in both]
    assert all("mask" not in row and "polygons" in row for row in asked(masks="polygons").json()["objects"])
    assert all({"mask", "polygons"}.isdisjoint(row) for row in asked(masks="none").json()["objects"])

    np.testing.assert_array_equal(array(asked(format="png").content), expected.to_ids())
    overlay = asked(format="overlay")
    assert overlay.headers["content-type"] == "image/png"
    assert array(overlay.content).shape == (*size, 3)


def test_label_maps_have_every_form(client: TestClient) -> None:
    np.testing.assert_array_equal(array(client.post("/v1/predict?format=png", content=PICTURE).content), IDS)
    rows = client.post("/v1/predict?masks=polygons", content=PICTURE).json()["objects"]
    assert [(row["class"], row["area"]) for row in rows] == [("ground", 18), ("road", 36), ("sky", 18)]
    coco = client.post("/v1/predict?format=coco", content=PICTURE).json()
    assert [entry["category_id"] for entry in coco["annotations"]] == [1, 2, 3]
    assert len(client.post("/v1/predict?format=geojson", content=PICTURE).json()["features"]) == 3


def test_models_are_told_with_their_classes(client: TestClient) -> None:
    said = client.get("/v1/models").json()
    assert said["usual"] == "grey"
    assert [(row["name"], row["task"]) for row in said["models"]] == [("grey", "semantic"), ("objects", "instance")]
    assert said["models"][0]["classes"] == ["ground", "road", "sky"]


def test_it_says_how_it_is(client: TestClient) -> None:
    client.post("/v1/predict", content=PICTURE)
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"
    text = client.get("/metrics").text
    assert 'everymask_model_info{model="grey",version="1"} 1' in text
    assert 'everymask_requests_total{path="/v1/predict",code="200"}' in text
    assert "everymask_inside 0" in text
    for line in text.splitlines():
        assert line.startswith("# TYPE everymask") or line.startswith("# TYPE process") or len(line.split(" ")) == 2


def test_openapi_lists_what_there_is_and_the_pages_need_nothing_from_elsewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    served = {(method, path) for path, operations in document["paths"].items() for method in operations}
    for method, path in served:
        answer = client.request(method, path.replace("{", "").replace("}", ""))
        assert answer.status_code != 405 and "no-such-address" not in answer.text, (method, path)
    for path in ("/", "/docs", "/page/page.js", "/page/page.css"):
        answer = client.get(path)
        assert answer.status_code == 200 and len(answer.text) > 1000
        assert "http://" not in answer.text and "https://" not in answer.text and "//cdn" not in answer.text
    assert "default-src 'none'; script-src 'self'" in client.get("/").headers["content-security-policy"]
    assert client.get("/page/..%2f..%2fapp.py").status_code == client.get("/page/app.py").status_code == 404


def bomb() -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({"content": b""}, 400, "no body"),
    "text": ({"content": b"hello", "headers": {"content-type": "text/plain"}}, 415, "expected a picture"),
    "JSON": ({"json": {"image": "x"}}, 415, "expected a picture"),
    "packed": ({"content": PICTURE, "headers": {"content-encoding": "gzip"}}, 415, "packed"),
    "no picture": ({"content": b"hello"}, 422, "picture"),
    "cut short": ({"content": PICTURE[:-30]}, 422, "picture"),
    "bomb": ({"content": bomb()}, 413, "30,000 x 30,000"),
    "too long": ({"content": b"x" * 5000}, 413, "bytes"),
    "endless": ({"content": iter([b"x" * 1000] * 9)}, 413, "bytes"),
    "no file": ({"data": {"a": "b"}, "files": {}}, 422, "picture"),
    "form without a file": ({"files": {"a": (None, "b")}}, 400, "no file"),
    "two files": ({"files": [("a", PICTURE), ("b", PICTURE)]}, 400, "form"),
    "no boundary": ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
    "empty file": ({"files": {"file": ("a.png", b"")}}, 400, "empty"),
    "no such model": ({"content": PICTURE, "params": {"model": "../grey"}}, 404, "there are: grey"),
    "no such format": ({"content": PICTURE, "params": {"format": "pgn"}}, 400, "did you mean png?"),
    "no such parameter": ({"content": PICTURE, "params": {"min-score": "1"}}, 400, "did you mean min_score?"),
    "no score": ({"content": PICTURE, "params": {"min_score": "nan"}}, 400, "from 0 to 1"),
    "no time": ({"content": PICTURE, "params": {"timeout": "-1"}}, 400, "timeout"),
}


@pytest.fixture(scope="module")
def narrow() -> Iterator[TestClient]:
    with client_of(service_with(max_body=4096)) as client:
        yield client


@pytest.mark.parametrize("case", list(BAD))
def test_what_cannot_be_answered_is_refused_with_a_cure(narrow: TestClient, case: str) -> None:
    options, status, said = BAD[case]
    answer = narrow.post("/v1/predict", **options)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert said in f"{error['message']} {error['hint']}"
    assert error["status"] == status and error["kind"]
    assert len(answer.headers["x-request-id"]) == 16
    assert narrow.post("/v1/predict", content=PICTURE).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/predict", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/v1/models/%2e%2e%2fgrey", 404),
        ("POST", "/v1/models/other/reload", 404),
    ],
)
def test_addresses_that_there_are_not(narrow: TestClient, method: str, path: str, status: int) -> None:
    answer = narrow.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_boxes_have_no_map_but_all_else() -> None:
    """A model without masks: what cannot be had is said, and polygons are those of the boxes."""
    from everymask.core.sample import Sample
    from everymask.serving.forms import Wanted
    from everymask.serving.shelf import Version

    boxes = InstanceSet(np.array([[1, 2, 5, 8]], np.float32), np.array([1]), np.array([0.5], np.float32))
    result = Result(Sample(np.zeros((9, 9, 3), np.uint8), id="p"), boxes, LABELS)
    version = Version("m", "1", "", grey_model(LABELS), 1)
    (feature,) = json.loads(Wanted("geojson").answer(result, version).body)["features"]
    assert feature["geometry"]["coordinates"] == [[[1, 2], [5, 2], [5, 8], [1, 8], [1, 2]]]
    (row,) = json.loads(Wanted("json", "both").answer(result, version).body)["objects"]
    assert row["polygons"] == [[[[1, 2], [5, 2], [5, 8], [1, 8]]]] and "mask" not in row
    assert "segmentation" not in json.loads(Wanted("coco").answer(result, version).body)["annotations"][0]
    with pytest.raises(DataError, match="no masks"):
        Wanted("png").answer(result, version)


def held_service(**settings: Any) -> tuple[Any, Held]:
    service = service_with(**settings)
    service.line.executor.shutdown()
    held = Held()
    service.line.executor = held
    return service, held


def begin_one(client: TestClient, service: Any) -> None:
    """The only thread is busy until it may go on."""

    def begin() -> None:
        service.line.submit(service.line.admit("someone", service.shelf.slot(None).current, 10.0), None)

    assert client.portal is not None
    client.portal.call(begin)


def test_who_cannot_be_answered_in_time_is_refused_at_once_and_told_when_to_come_back() -> None:
    """Before the body is looked at: it is none that could be read."""
    service, _ = held_service(budget=2.0)
    version = service.shelf.slot(None).current
    version.seconds = 1.0
    with client_of(service) as client:
        service.line.admit("someone", version, 2.0)
        answer = client.post("/v1/predict", content=b"no picture")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert 'everymask_refused_total{reason="busy"} 1' in client.get("/metrics").text
        assert service.line.inside == 1


def test_whose_turn_does_not_come_is_told_so_and_never_calculated() -> None:
    service, held = held_service(workers=1)
    with client_of(service) as client:
        begin_one(client, service)
        answer = client.post("/v1/predict?timeout=0.05", content=PICTURE)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (504, "late")
        assert len(held.kept) == 1
        assert service.line.inside == 1


def test_a_service_that_ends_takes_nobody_and_says_so() -> None:
    service = service_with()
    with client_of(service) as client:
        service.draining = True
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        answer = client.post("/v1/predict", content=PICTURE)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "ending")


def test_a_fault_of_the_service_is_said_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    service = service_with()

    def broken(*_: Any) -> None:
        raise RuntimeError("secret path")

    version = service.shelf.slot(None).current
    object.__setattr__(version.predictor, "backend", broken)
    with client_of(service, raise_server_exceptions=False) as client, caplog.at_level(logging.ERROR):
        answer = client.post("/v1/predict", content=PICTURE)
        assert answer.status_code == 500
        assert "secret" not in answer.text and "AttributeError" not in answer.text
        assert client.get("/healthz").status_code == 200
    assert caplog.records


def test_only_who_sends_a_key_is_answered() -> None:
    with client_of(service_with(keys={"anna": "s3cret"})) as client:
        for address, method in (("/v1/predict", "POST"), ("/v1/models", "GET"), ("/metrics", "GET")):
            answer = client.request(method, address, content=PICTURE if method == "POST" else None)
            assert answer.status_code == 401 and "wants a key" in answer.text, address
        for headers in ({"authorization": "Bearer s3cret"}, {"x-api-key": "s3cret"}):
            assert client.post("/v1/predict", content=PICTURE, headers=headers).status_code == 200
        assert client.get("/v1/models", auth=("anybody", "s3cret")).status_code == 200
        for headers in ({"authorization": "Bearer s3cre"}, {"authorization": "Basic ?"}, {"x-api-key": b"\xe9"}):
            answer = client.post("/v1/predict", content=PICTURE, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/healthz").status_code == 200


def test_web_pages_of_others_may_ask_only_where_they_are_named() -> None:
    asked = {"origin": "https://tool.example", "access-control-request-method": "POST"}
    with client_of(service_with()) as client:
        assert "access-control-allow-origin" not in client.post("/v1/predict", content=PICTURE, headers=asked).headers
    with client_of(service_with(origins=("https://tool.example",))) as client:
        answer = client.options("/v1/predict", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://tool.example"
        other = client.post("/v1/predict", content=PICTURE, headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_a_model_is_reloaded_where_its_file_changed_and_keeps_answering_where_that_fails() -> None:
    digests = iter(["1", "1", "2", "2", "3", "3"])
    models = iter([grey_model(LABELS), grey_model(LABELS, [100, 50, 0])])

    def loaded() -> Predictor:
        try:
            return next(models)
        except StopIteration:
            raise WeightsError("the file is cut short") from None

    service = service_with()
    shelf = Shelf(service.settings.max_pixels)
    shelf.add(Origin("grey", "runs/grey", loaded, lambda: next(digests)))
    service.shelf = shelf
    with client_of(service) as client:
        before = shelf.slot(None).current
        assert client.post("/v1/models/grey/reload").json() == {"name": "grey", "changed": False, "version": "1"}
        assert client.post("/v1/models/grey/reload").json() == {"name": "grey", "changed": True, "version": "2"}
        assert shelf.slot(None).current is not before
        answer = client.post("/v1/predict?format=png", content=PICTURE)
        np.testing.assert_array_equal(array(answer.content), 2 - IDS)
        answer = client.post("/v1/models/grey/reload")
        assert answer.status_code == 409 and "answers as before: the file is cut short" in answer.text
        assert client.post("/v1/predict", content=PICTURE).headers["x-model-version"] == "grey@2"


def test_a_canary_answers_just_its_share() -> None:
    service = service_with()
    shelf = Shelf(service.settings.max_pixels)
    shelf.add(origin(grey_model(LABELS)), origin(grey_model(LABELS), version="new"), 0.25)
    service.shelf = shelf
    with client_of(service) as client:
        said = [client.post("/v1/predict", content=PICTURE).headers["x-model-version"] for _ in range(20)]
        assert said.count("grey@new") == 5
        assert client.get("/v1/models").json()["models"][0]["canary"]["share"] == 0.25


def test_pictures_that_come_together_are_calculated_together_with_equal_answers() -> None:
    """All of one group; the answers are those of pictures alone, and a damaged one is nobody else's matter."""
    service, held = held_service(batch=4, workers=1)
    pictures = [PICTURE, png(255 - np.asarray(array(PICTURE))), b"damaged", PICTURE]
    with client_of(service) as client, ThreadPoolExecutor(5) as pool:
        begin_one(client, service)
        assert client.portal is not None
        answers = [pool.submit(client.post, "/v1/predict?format=png", content=picture) for picture in pictures]
        while service.line.waiting < len(pictures):
            client.get("/healthz")
        client.portal.call(held.go)
        while not held.kept:
            client.get("/healthz")
        assert len(held.kept) == 1
        client.portal.call(held.go)
        statuses = [answer.result().status_code for answer in answers]
        assert statuses == [200, 200, 422, 200]
        np.testing.assert_array_equal(array(answers[0].result().content), IDS)
        np.testing.assert_array_equal(array(answers[3].result().content), IDS)
