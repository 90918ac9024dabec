"""Bytes and seconds in words, for a person."""

from __future__ import annotations


def amount(num_bytes: int) -> str:
    """Bytes for a person: 310 bytes, 12 KiB, 3.4 GiB."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min((max(num_bytes, 1).bit_length() - 1) // 10, len(units) - 1)
    value = num_bytes / 1024**power
    return f"{value:.1f} {units[power]}" if power and value < 10 else f"{value:.0f} {units[power]}"


def duration(seconds: float) -> str:
    """Seconds for a person: 45 s, 12 min, 3 h 05 min, 41 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
    return f"{seconds / 86400:.0f} days"
