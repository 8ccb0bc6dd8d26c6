"""What a benchmark run saw, for the terminal and as JSON."""

import json
import platform
import statistics
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.adapters import Added
from tests.bench.admission import Admission
from tests.bench.posting import Posting


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Medians of both sides, and the ratio of each round (product over bare hops)."""

    kind: str
    connections: int
    bare: dict[str, Any]
    product: dict[str, Any]
    ratios: list[float]


@dataclass(slots=True)
class Report:
    """Collected while the benchmark runs; `write` prints it and keeps it below `folder`."""

    folder: Path
    comparisons: list[Comparison] = field(default_factory=list)
    added: list[Added] = field(default_factory=list)
    rss: dict[str, float] = field(default_factory=dict)
    lag_seconds: float = 0.0
    admission: Admission | None = None
    posting: Posting | None = None

    def progress(self, text: str) -> None:
        """Say what is being measured now."""
        sys.stdout.write(f"bench: {text}\n")
        sys.stdout.flush()

    def add(self, comparison: Comparison) -> None:
        """Keep one comparison, and show it at once."""
        self.comparisons.append(comparison)
        self.progress(_line(comparison))

    def write(self) -> None:
        """Print the table and keep the numbers."""
        lines = [
            "",
            f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}",
            *map(_line, self.comparisons),
            *map(_added_line, self.added),
            f"billing caught up {self.lag_seconds:.2f} s after the load",
            *_billing_lines(self.admission, self.posting),
            "resident memory: "
            + ", ".join(f"{name} {megabytes:.0f} MB" for name, megabytes in self.rss.items()),
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "report.json").write_text(
            json.dumps(
                {
                    "comparisons": [asdict(comparison) for comparison in self.comparisons],
                    "added_by_adapters": [asdict(added) for added in self.added],
                    "rss_megabytes": self.rss,
                    "billing_lag_seconds": self.lag_seconds,
                    "admission": None if self.admission is None else asdict(self.admission),
                    "posting": None if self.posting is None else asdict(self.posting),
                },
                indent=2,
            ),
            encoding="utf-8",
        )


def _billing_lines(admission: Admission | None, posting: Posting | None) -> list[str]:
    lines: list[str] = []
    if admission is not None:
        lines.append(
            f"AuthorizeSpend at {admission.per_second:.0f} a second: p50 {admission.p50_ms:.2f} ms, "
            f"p99 {admission.p99_ms:.2f} ms of {admission.calls} calls, {admission.failed} failed"
        )
    if posting is not None:
        lines.append(
            f"billing posts {posting.booked_per_second:,.0f} generations a second, and passes over "
            f"{posting.repeated_per_second:,.0f} that come again; problems: {posting.problems}"
        )
    return lines


def _added_line(added: Added) -> str:
    return (
        f"adapter {added.adapter} adds {added.added_ms:.2f} ms at {added.at_once}: "
        f"p50 {added.adapter_p50_ms:.2f} against {added.bare_p50_ms:.2f} ms, "
        f"{added.adapter_per_second:.0f} against {added.bare_per_second:.0f} calls/s"
    )


def _line(comparison: Comparison) -> str:
    ours, bare = comparison.product, comparison.bare
    ratio = statistics.median(comparison.ratios)
    unit = "streams/s, first byte" if comparison.kind == "streams" else "req/s,"
    return (
        f"{comparison.kind:8}{comparison.connections:4} at once: "
        f"{ours['per_second']:7.0f} against {bare['per_second']:7.0f} {unit} "
        f"p50 {ours['p50_ms']:.2f} against {bare['p50_ms']:.2f} ms, "
        f"p99 {ours['p99_ms']:.2f} against {bare['p99_ms']:.2f} ms, "
        f"ratio {ratio:.2f} ({', '.join(f'{each:.2f}' for each in comparison.ratios)}), "
        f"failed {ours['failed']}/{bare['failed']} [{ours['client']}]"
    )
