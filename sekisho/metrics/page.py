"""The figures of all processes as Prometheus reads them (text format 0.0.4). Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sekisho.metrics import families as f
from sekisho.metrics.board import Figures, Key, added
from sekisho.metrics.families import FAMILIES, Family, Kind

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def page(processes: Iterable[Figures], more: Mapping[Key, float], counts: Mapping[Key, list[float]]) -> bytes:
    """The sum over ``processes``; ``more`` and ``counts``: gauges and counters that are nobody's share."""
    total: dict[Key, list[float]] = dict(counts)
    gauges: dict[Key, float] = {}
    for figures in processes:
        total = added(total, figures.counts)
        for key, value in figures.gauges.items():
            gauges[key] = gauges.get(key, 0.0) + value
    believing = [figures.gauges[f.CLOCK,] for figures in processes if (f.CLOCK,) in figures.gauges]
    gauges[f.CLOCK,] = float(bool(believing) and all(believing))
    gauges.update(more)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(total, gauges))
    return generate_latest(registry)


class _Collected(Collector):
    """What has been gathered, for the library to write."""

    def __init__(self, counts: Mapping[Key, list[float]], gauges: Mapping[Key, float]) -> None:
        self._of: dict[str, dict[Key, list[float]]] = {family.name: {} for family in FAMILIES}
        for key, values in counts.items():
            self._of[key[0]][key[1:]] = values
        for key, value in gauges.items():
            self._of[key[0]][key[1:]] = [value]

    def collect(self) -> Iterator[Metric]:
        """Every family of the table, also one without a value."""
        for family in FAMILIES:
            yield _metric(family, self._of[family.name])


def _metric(family: Family, found: Mapping[Key, list[float]]) -> Metric:
    made: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    match family.kind:
        case Kind.COUNTER:
            made = CounterMetricFamily(family.name, family.text, labels=family.labels)
        case Kind.GAUGE:
            made = GaugeMetricFamily(family.name, family.text, labels=family.labels)
        case Kind.HISTOGRAM:
            made = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    for labels, values in sorted(found.items()):
        if isinstance(made, HistogramMetricFamily):
            made.add_metric(labels, _buckets(family, values), sum_value=values[-1])
        else:
            made.add_metric(labels, values[0])
    return made


def _buckets(family: Family, values: list[float]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    names, sum_, buckets = [*map(str, family.bounds), "+Inf"], 0.0, []
    for name, count in zip(names, values[:-1], strict=True):
        sum_ += count
        buckets.append((name, sum_))
    return buckets
