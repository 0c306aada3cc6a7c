"""Experiment `scale`: what many more tokens cost at import, at start, in memory and in a login."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Aim, LoadGenerator
from benchmarks.meter import Customers, Progress, measure
from benchmarks.sekisho import Product, Sekisho, Serving

_UNDER_WAY = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """`sizes` in tokens, each bound to a customer of its own."""

    sizes: tuple[int, ...]
    rounds: int
    seconds: float
    most: int

    def steps(self) -> int:
        return len(self.sizes) * (1 + self.rounds)


def run(product: Product, plan: Plan, generator: LoadGenerator, folder: Path, progress: Progress) -> dict[str, Any]:
    """Every import, start and run, as plain data."""
    sekisho = Sekisho(product)
    facts: dict[int, dict[str, Any]] = {}
    runs: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers: dict[int, tuple[Serving, Customers]] = {}
        for size in plan.sizes:
            progress.say(f"importing {size:,} tokens and as many customers")
            store = product.store(size)
            place = folder / f"scale-{size}"
            place.mkdir()
            serving = stack.enter_context(product.serve(store, place))
            servers[size] = serving, Customers(range(size))
            idle = serving.process.memory()
            facts[size] = {
                "token_import_s": store.token_import_s,
                "customer_import_s": store.customer_import_s,
                "store_mib": sum(file.stat().st_size for file in store.folder.glob("s.db*")) / 2**20,
                "ready_s": serving.ready_s,
                "rss_ready_mib": idle.now,
            }
            progress.done(
                f"{size:,}: tokens in {store.token_import_s:.1f} s, customers in {store.customer_import_s:.1f} s, "
                f"ready after {serving.ready_s:.2f} s with {idle.now:.0f} MiB"
            )
        for number in range(plan.rounds):
            for size in plan.sizes if number % 2 == 0 else plan.sizes[::-1]:
                serving, customers = servers[size]
                aim = Aim(serving.doors["code"], outstanding=_UNDER_WAY, seconds=plan.seconds)
                sample = measure(
                    generator, serving.process, customers, sekisho.credential, aim, min(plan.most, size // 2)
                )
                runs.append({"size": size, "round": number, **sample.summary()})
                progress.done(f"{size:,} tokens: {sample.rate:,.0f}/s, {sample.cpu_us:.0f} us CPU")
        for size, (serving, _) in servers.items():
            loaded = serving.process.memory()
            facts[size] |= {"rss_loaded_mib": loaded.now, "rss_peak_mib": loaded.peak}
    return {
        "outstanding": _UNDER_WAY,
        "sizes": {str(size): fact for size, fact in facts.items()},
        "runs": runs,
    }
