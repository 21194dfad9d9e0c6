"""A picture is sent once and asked about many times; sessions take no more memory than is allowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM
from everymask.serving.problems import Problem
from everymask.serving.service import Service
from everymask.serving.shelf import Asking
from tests.grey_model import grey_model
from tests.models.prompted.random_sam import predictor_of, scatter
from tests.serving.served import LABELS, client_of, png, service_with

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sam() -> Predictor:
    network = PromptedNetwork(SAM(encoder="vit_t", side=64)).eval()
    scatter(network)
    return predictor_of(network)


@pytest.fixture(scope="module")
def service(sam: Predictor) -> Service:
    return service_with(("sam", sam), ("grey", grey_model(LABELS)))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with client_of(service) as client:
        yield client


def begun(client: TestClient, pixels: Any = PIXELS) -> str:
    said = client.post("/v1/sessions", content=png(pixels))
    assert said.status_code == 201, said.text
    name: str = said.json()["session"]
    return name


def asked(client: TestClient, name: str, **prompt: Any) -> dict[str, Any]:
    said = client.post(f"/v1/sessions/{name}/prompt", json=prompt)
    assert said.status_code == 200, said.text
    found: dict[str, Any] = said.json()
    return found


def test_answers_are_those_of_a_session_in_python(client: TestClient, sam: Predictor) -> None:
    said = client.post("/v1/sessions", files={"file": ("p.png", png(PIXELS))})
    assert said.status_code == 201 and said.json()["size"] == [40, 60] and said.json()["model"] == "sam"
    name, own = said.json()["session"], sam.session(PIXELS)
    for prompt in (
        {"points": [[20, 20]]},
        {"points": [[30, 10]], "labels": [0]},
        {"boxes": [[5, 5, 30, 30], [1, 2, 9, 12]]},
    ):
        expected, found = own.predict(**prompt), Result.from_json(asked(client, name, **prompt), PIXELS)  # type: ignore[arg-type]
        assert found.instances.masks is not None and expected.instances.masks is not None
        assert found.instances.masks.to_rle() == expected.instances.masks.to_rle()
        np.testing.assert_array_equal(found.instances.scores, expected.instances.scores)


def test_undo_gives_the_answer_before_and_reset_begins_anew(client: TestClient) -> None:
    name = begun(client)
    first = asked(client, name, points=[[20, 20]])
    asked(client, name, points=[[30, 10]])
    again = client.post(f"/v1/sessions/{name}/undo").json()
    assert again["objects"] == first["objects"]
    assert client.post(f"/v1/sessions/{name}/undo").status_code == 204
    refused = client.post(f"/v1/sessions/{name}/undo")
    assert refused.status_code == 400 and "nothing to take back" in refused.json()["error"]["message"]
    asked(client, name, points=[[3, 3]])
    assert client.post(f"/v1/sessions/{name}/reset").status_code == 204
    assert asked(client, name, points=[[20, 20]])["objects"] == first["objects"]
    assert client.delete(f"/v1/sessions/{name}").status_code == 204
    for said in (client.delete(f"/v1/sessions/{name}"), client.post(f"/v1/sessions/{name}/undo")):
        assert said.status_code == 404 and said.json()["error"]["kind"] == "no-such-session"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "there is no prompt"),
        ({"points": [[99, 1]]}, "lies outside the picture"),
        ({"points": [[1, 1]], "labels": [7]}, "labels must be 1"),
        ({"points": [[1, 1]], "label": [1]}, "a prompt must be one of"),
        ({"points": "middle"}, "points must be a list"),
        ({"points": [[[1, 1]]] * 3000}, "up to 4,000 numbers"),
        ({"boxes": [[1, 1, 5, float("inf")]]}, "the body is no JSON"),
        ({"points": [[1, 1]], "candidates": 1}, "true or false"),
        ([1], "expected a JSON object"),
    ],
)
def test_what_is_no_prompt_is_refused(client: TestClient, prompt: Any, message: str) -> None:
    name = begun(client)
    if "boxes" in prompt:
        said = client.post(f"/v1/sessions/{name}/prompt", content=b'{"boxes": [[1, 1, 5, inf]]}')
    else:
        said = client.post(f"/v1/sessions/{name}/prompt", json=prompt)
    assert said.status_code == 400 and message in said.json()["error"]["message"]


def test_models_that_take_no_prompts_say_so(client: TestClient) -> None:
    said = client.post("/v1/sessions?model=grey", content=png(PIXELS))
    assert said.status_code == 400 and "takes no prompts" in said.json()["error"]["message"]
    assert client.post("/v1/sessions?modle=sam", content=png(PIXELS)).status_code == 400
    assert client.post("/v1/sessions", content=b"no picture").status_code == 422
    assert [row["prompts"] for row in client.get("/v1/models").json()["models"]] == [True, False]
    assert client.post("/v1/predict", content=png(PIXELS)).status_code == 400


def test_sessions_take_no_more_memory_than_is_allowed(sam: Predictor) -> None:
    service = service_with(("sam", sam), max_sessions=200_000)
    with client_of(service) as client:
        names = [begun(client)]
        (first,) = service.sessions._kept.values()
        for number in range(8):
            names.append(begun(client, np.roll(PIXELS, number)))
            asked(client, names[0], points=[[20, 20]])
            if number % 3 == 0:
                client.post(f"/v1/sessions/{names[0]}/reset")
            assert 0 < service.sessions.nbytes <= 200_000
        # What is asked stays; what is not goes.
        assert service.sessions._kept[names[0]] is first
        assert client.post(f"/v1/sessions/{names[1]}/undo").status_code == 404
        for _ in range(20):
            if client.post(f"/v1/sessions/{names[0]}/prompt", json={"points": [[20, 20]]}).status_code == 404:
                break
        assert service.sessions.nbytes <= 200_000
        assert "everymask_sessions" in client.get("/metrics").text
    with client_of(service_with(("sam", sam), max_sessions=10_000)) as client:
        said = client.post("/v1/sessions", content=png(PIXELS))
        assert said.status_code == 413 and "--session-megabytes" in said.json()["error"]["hint"]


def test_a_session_belongs_to_who_began_it(sam: Predictor) -> None:
    with client_of(service_with(("sam", sam), keys={"a": "one", "b": "two"})) as client:
        client.headers["x-api-key"] = "one"
        name = begun(client)
        client.headers["x-api-key"] = "two"
        assert client.post(f"/v1/sessions/{name}/prompt", json={"points": [[1, 1]]}).status_code == 404
        client.headers.pop("x-api-key")
        assert client.delete(f"/v1/sessions/{name}").status_code == 401


def test_a_session_answers_one_prompt_at_a_time(client: TestClient, service: Service) -> None:
    name = begun(client)
    kept, held = service.sessions._kept[name], threading.Event()
    with pytest.raises(Problem, match="answering another prompt"):
        kept.alone(lambda: kept.alone(held.set))
    kept.lock.acquire()
    assert client.post(f"/v1/sessions/{name}/prompt", json={"points": [[1, 1]]}).status_code == 409
    kept.lock.release()
    asked(client, name, points=[[1, 1]])


def test_the_failure_of_one_job_is_no_matter_of_the_others() -> None:
    def fails() -> None:
        raise ValueError("no")

    work = Asking(1.0)
    first, second = work.run([fails, lambda: 3])
    assert isinstance(first, ValueError) and second == 3
    work.took(2.0)
    assert work.seconds == pytest.approx(1.2)
