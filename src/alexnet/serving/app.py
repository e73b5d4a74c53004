"""What is asked and what is answered: the routes of the server as an ASGI application."""

import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alexnet.data.places import check_views
from alexnet.errors import UsageError
from alexnet.serving import body, protocol
from alexnet.serving.gate import Full, Gate, Place
from alexnet.serving.guard import Guard
from alexnet.serving.limits import Limits
from alexnet.serving.metrics import MEDIA_TYPE, Metrics
from alexnet.serving.openapi import document
from alexnet.serving.page import served_page
from alexnet.serving.problems import Problem, ProblemResponse
from alexnet.serving.process import Failed, NotAnswered, Process, Refused, whole_answer

RETRY = {"retry-after": "1"}  # seconds: a full queue is empty by then
OPTIONS = ("top", "views", "coverage")
ROOM = 65536  # bytes of a request of the protocol beside its images


class Service:
    """The answers of one model."""

    def __init__(self, process: Process, name: str, limits: Limits) -> None:
        self._process, self._name, self._limits = process, name, limits
        self._gate, self.metrics = Gate(limits.queue), Metrics()
        self._spec = json.dumps(document(name, process.card, limits))
        self._page, self._policy = served_page(process.card)
        self._tell()

    def routes(self) -> list[Route]:
        """Every route, by its path."""
        post, model = ["POST"], "/v2/models/{name}"
        return [
            Route("/", self.page),
            Route("/predict", self.predict, methods=post),
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/metrics", self.tell_metrics),
            Route("/openapi.json", self.spec),
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route(model, self.model),
            Route(f"{model}/ready", self.model_ready),
            Route(f"{model}/infer", self.infer, methods=post),
        ]

    async def page(self, request: Request) -> Response:
        """GET /: the page."""
        return HTMLResponse(self._page, headers={"content-security-policy": self._policy})

    async def live(self, request: Request) -> Response:
        """GET /livez: the server answers."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """GET /readyz: the model answers, too."""
        return JSONResponse({"ready": self._process.ready}, 200 if self._process.ready else 503)

    async def spec(self, request: Request) -> Response:
        """GET /openapi.json"""
        return Response(self._spec, media_type="application/json")

    async def tell_metrics(self, request: Request) -> Response:
        """GET /metrics"""
        return Response(self.metrics.text(), media_type=MEDIA_TYPE)

    async def server(self, request: Request) -> Response:
        """GET /v2"""
        return JSONResponse(protocol.server_metadata())

    async def model(self, request: Request) -> Response:
        """GET /v2/models/{name}"""
        self._check_name(request)
        return JSONResponse(protocol.metadata(self._name, self._process.card))

    async def model_ready(self, request: Request) -> Response:
        """GET /v2/models/{name}/ready"""
        self._check_name(request)
        told = {"name": self._name, "ready": self._process.ready}
        return JSONResponse(told, 200 if self._process.ready else 503)

    async def predict(self, request: Request) -> Response:
        """POST /predict: one image in the body, one answer of `alexnet predict --json`."""
        asked = self._asked(request)
        body.check_image(request)
        body.check_length(request, self._limits.max_bytes)

        async def answer(place: Place) -> Response:
            image = await body.read(request, place, self._limits, self._limits.max_bytes)
            return Response(await self._answer(asked, image), media_type="application/json")

        return await self._placed(answer)

    async def infer(self, request: Request) -> Response:
        """POST /v2/models/{name}/infer: images in JSON, in one place of the queue."""
        self._check_name(request)
        body.check_json(request)
        most = self._limits.max_bytes * 4 // 3 + ROOM
        body.check_length(request, most)
        asked = {"top": 1, "views": 1, "coverage": None, "whole": True}

        async def answer(place: Place) -> Response:
            given, images = protocol.images(await body.read(request, place, self._limits, most))
            places = [protocol.place_of(number, len(images)) for number in range(1, len(images) + 1)]
            told = [whole_answer(await self._answer(asked, *each)) for each in zip(images, places, strict=True)]
            return JSONResponse(protocol.answer(self._name, given, told, self._process.card))

        return await self._placed(answer)

    async def _placed(self, answer: Callable[[Place], Awaitable[Response]]) -> Response:
        """What a request gets in a place of the queue; 503 where there is none."""
        began = time.monotonic()
        try:
            with self._gate.place() as place:
                found = await answer(place)
        except Full:
            await self._gate.hold_back()
            told = f"all {self._limits.queue} places of the queue are taken; ask again in a second"
            raise Problem(503, told, RETRY | {"connection": "close"}) from None
        self.metrics.took(time.monotonic() - began)
        return found

    async def _answer(self, asked: dict[str, Any], image: bytes, place: str = "") -> bytes:
        """The answer to one image; 422 where it cannot be read, 503 where there is no answer yet, 500 where none is.

        place: among several images, with which messages begin.
        """
        try:
            return await self._process.ask(asked, image)
        except Refused as error:
            raise Problem(422, f"{place}{error}") from None
        except NotAnswered as error:
            raise Problem(503, f"{place}{error}; ask again in a second", RETRY) from None
        except Failed as error:
            raise Problem(500, f"{place}{error}") from None

    def _asked(self, request: Request) -> dict[str, Any]:
        """The options in an address, checked as the command line checks them; 400 for others."""
        given = request.query_params.multi_items()
        names = [name for name, _ in given]
        if unknown := [name for name in names if name not in OPTIONS] or [n for n in names if names.count(n) > 1]:
            raise Problem(400, f"option {unknown[0][:40]!r} is unknown or given twice; give {', '.join(OPTIONS)}")
        asked = dict(given)
        top, views = (_number(name, asked.get(name, usual), int) for name, usual in (("top", "5"), ("views", "1")))
        coverage = _number("coverage", asked["coverage"], float) if "coverage" in asked else None
        if top < 1:
            raise Problem(400, f"top is {top}; give a whole number from 1 up")
        self._check_model(int(views), coverage)
        return {
            "top": min(int(top), len(self._process.card.class_names)),
            "views": views,
            "coverage": coverage,
            "whole": False,
        }

    def _check_model(self, views: int, coverage: float | None) -> None:
        """400 for what this model cannot do."""
        card = self._process.card
        try:
            check_views(views)
        except UsageError as error:
            raise Problem(400, str(error)) from None
        if refusal := card.views.get(str(views)):
            raise Problem(400, refusal)
        if coverage is None:
            return
        if not 0 < coverage < 1:
            raise Problem(400, f"coverage is {coverage:g}; give a share above 0 and below 1")
        if views != 1:
            raise Problem(400, f"views is {views}, and coverage is held by the centre view alone; leave views out")
        if card.coverage:
            raise Problem(400, card.coverage)

    def _check_name(self, request: Request) -> None:
        if request.path_params["name"] != self._name:
            raise Problem(404, f"there is no model of that name here; the one model is {self._name!r}")

    def _tell(self) -> None:
        gate, process = self._gate, self._process
        for name, kind, about, value in (
            ("alexnet_places_taken", "gauge", "Requests that are answered or wait.", lambda: gate.taken),
            ("alexnet_slow_bodies", "gauge", "Requests whose bodies are slow to arrive.", lambda: gate.aside),
            ("alexnet_ready", "gauge", "Whether the model answers.", lambda: process.ready),
            (
                "alexnet_restarts_total",
                "counter",
                "Times that the computing process was started again.",
                lambda: process.restarts,
            ),
        ):
            self.metrics.tell(name, kind, about, value)


class Counting:
    """Counts every answer by its route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("endpoint"), "__name__", "other")
                self._metrics.answered(route, message["status"])
            await send(message)

        await self._app(scope, receive, counted)


def make_app(
    process: Process, name: str, limits: Limits, hosts: list[str], origins: list[str], token: str | None
) -> ASGIApp:
    """The application of a model that has been opened."""
    service = Service(process, name, limits)
    handlers: Any = {Problem: _problem, HTTPException: _http_problem, Exception: _unexpected}
    app = Starlette(routes=service.routes(), exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Counting(Guard(app, hosts, origins, token), service.metrics)


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return ProblemResponse(problem)


async def _http_problem(request: Request, error: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(error, HTTPException)
    told = {404: "there is nothing at this path", 405: f"{request.method} is not for this path"}
    text = told.get(error.status_code, error.detail)
    return ProblemResponse(Problem(error.status_code, f"{text}; /openapi.json lists what there is", error.headers))


async def _unexpected(request: Request, error: Exception) -> Response:
    return ProblemResponse(Problem(500, f"unexpected {type(error).__name__}; the server goes on"))


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    """A number in an address; 400 for what is none."""
    try:
        value = kind(text) if len(text) <= 20 else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Problem(400, f"{name} is {text[:40]!r}; give a {'whole ' if kind is int else ''}number")
    return value
