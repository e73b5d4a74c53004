"""Counts of a server in the text format of Prometheus, version 0.0.4."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """What has happened since the server began, and what stands now. Labels are our own words alone."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(SECONDS) + 1)
        self._seconds = 0.0
        self._now: dict[str, tuple[str, str, Callable[[], float]]] = {}

    def answered(self, route: str, status: int) -> None:
        """Count a request. route: our name of it, not what the client wrote."""
        self._requests[route, status] += 1

    def took(self, seconds: float) -> None:
        """Count an image's answer, from its header to its last byte."""
        self._buckets[bisect_left(SECONDS, seconds)] += 1
        self._seconds += seconds

    def tell(self, name: str, kind: str, about: str, value: Callable[[], float]) -> None:
        """Tell a value of elsewhere, too. kind: gauge or counter."""
        self._now[name] = (kind, about, value)

    def text(self) -> str:
        """All of them."""
        return "\n".join([*self._counts(), *self._histogram(), *self._values()]) + "\n"

    def _counts(self) -> Iterator[str]:
        name = "alexnet_requests_total"
        yield from _head(name, "counter", "Requests answered, by route and status.")
        for (route, status), count in sorted(self._requests.items()):
            yield f'{name}{{route="{route}",status="{status}"}} {count}'

    def _histogram(self) -> Iterator[str]:
        name, total = "alexnet_answer_seconds", 0
        yield from _head(name, "histogram", "Seconds from an image's header to its answer.")
        for limit, count in zip([*map(str, SECONDS), "+Inf"], self._buckets, strict=True):
            total += count
            yield f'{name}_bucket{{le="{limit}"}} {total}'
        yield f"{name}_sum {self._seconds:.6f}"
        yield f"{name}_count {total}"

    def _values(self) -> Iterator[str]:
        for name, (kind, about, value) in self._now.items():
            yield from _head(name, kind, about)
            yield f"{name} {value():g}"


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"
