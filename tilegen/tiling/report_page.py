"""The report of a run as one page that needs nothing else: no script, no style sheet, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from tilegen.amounts import duration
from tilegen.tiling.report import Attempt, RunReport, WorkerShare

_WIDTH, _HEIGHT = 900, 220
_MOST_WORKERS = 200
_SHARDS_PER_BIN = 4.0

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0 0 2rem; }
th, td { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top; overflow-wrap: anywhere; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { width: 100%; height: auto; background: #f6f6f4; }
"""


def report_page(report: RunReport) -> str:
    """HTML of a report: what was made, the rate over time, attempts, and what each worker did."""
    title = f"{escape(report.product)}: run report"
    return "\n".join(
        (
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head><body>',
            f"<h1>{title}</h1>",
            _table((), _facts(report)),
            "<h2>Rate over time</h2>",
            _chart(report.attempts),
            "<h2>Attempts</h2>",
            _table(
                ("began (UTC)", "ended", "lasted", "shards", "Mpx/s", "retries"), map(_attempt_row, report.attempts)
            ),
            "<h2>Workers</h2>",
            _table(("worker", "shards", "share", "busy", "Mpx/s"), _worker_rows(report)),
            "</body></html>\n",
        )
    )


def _facts(report: RunReport) -> list[tuple[str, str]]:
    done = sum(attempt.shards for attempt in report.attempts)
    return [
        ("pixels", f"{report.num_pixels:,}"),
        ("shards", f"{done} of {report.num_shards} in these attempts"),
        ("time", duration(report.seconds)),
        ("rate", f"{_mega(report.pixels, report.seconds)} Mpx/s"),
        ("retries", str(report.retries)),
        ("encoding", ", ".join(f"{name} {value}" for name, value in report.encoding.items())),
        ("fingerprint", report.fingerprint),
        *((key, str(value)) for key, value in report.provenance.items() if not isinstance(value, dict)),
    ]


def _attempt_row(attempt: Attempt) -> tuple[str, ...]:
    rate = _mega(attempt.pixels, attempt.seconds)
    return attempt.began, attempt.status, duration(attempt.seconds), str(attempt.shards), rate, str(attempt.retries)


def _worker_rows(report: RunReport) -> list[tuple[str, ...]]:
    """The busiest first; what is left of many in one row."""
    shares: dict[str, WorkerShare] = {}
    for attempt in report.attempts:
        for name, share in attempt.workers.items():
            shares[name] = shares.get(name, WorkerShare()).plus(share)
    ranked = sorted(shares.items(), key=lambda item: -item[1].pixels)
    rest = WorkerShare()
    for _, share in ranked[_MOST_WORKERS:]:
        rest = rest.plus(share)
    if rest.shards:
        ranked = [*ranked[:_MOST_WORKERS], (f"{len(shares) - _MOST_WORKERS} others", rest)]
    return [
        (
            name,
            str(share.shards),
            f"{share.pixels / max(report.pixels, 1):.1%}",
            duration(share.work_s),
            _mega(share.pixels, share.work_s),
        )
        for name, share in ranked
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is words, the others are numbers, but for a table of two columns."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if index and len(cells) > 2 else ''}>{escape(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )

    lines = [f"<tr>{line(head, 'th')}</tr>"] if head else []
    lines += [f"<tr>{line(row, 'td')}</tr>" for row in rows]
    return "<table>" + "".join(lines) + "</table>"


def _chart(attempts: Sequence[Attempt]) -> str:
    """Bars of megapixels per second; attempts side by side, the time between them left out."""
    bars, total_s = [], 0.0
    for attempt in (attempt.smoothed(_SHARDS_PER_BIN) for attempt in attempts):
        for index, pixels in enumerate(attempt.rate_px):
            # The last bin has lasted only as long as the attempt.
            length_s = max(min(attempt.bin_s, attempt.seconds - index * attempt.bin_s), 1e-3)
            bars.append((total_s + index * attempt.bin_s, length_s, pixels / length_s / 1e6))
        total_s += max(attempt.seconds, len(attempt.rate_px) * attempt.bin_s)
    if not bars:
        return "<p>No shard was finished.</p>"
    highest = max(rate for _, _, rate in bars) or 1.0
    across, up = _WIDTH / total_s, (_HEIGHT - 30) / highest
    rectangles = "".join(
        f'<rect x="{at * across:.1f}" y="{_HEIGHT - rate * up:.1f}" width="{length * across:.1f}" '
        f'height="{rate * up:.1f}" fill="#3b6ea5"/>'
        for at, length, rate in bars
    )
    words = f'<text x="6" y="18" font-size="13">up to {highest:.2f} Mpx/s, over {escape(duration(total_s))}</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{rectangles}{words}</svg>'


def _mega(pixels: int, seconds: float) -> str:
    return f"{pixels / seconds / 1e6:.2f}" if seconds > 0 else "-"
