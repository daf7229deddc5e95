"""Describes this plugin."""

NAME = "Temperature"
VERSION = "1.1.0"
AUTHOR = "Sparkle-M maintainers"
TOPIC = "telemetry"
DESCRIPTION = "Temperatures of the machine's sensors and GPUs, in °C"
PANEL = {
    "title": {"en": "Temperature", "ru": "Температура"},
    "quantity": "temperature",
    "decimals": 1,
    "headline": {"statistic": "maximum"},
    "scale": (20, 110),
    "thresholds": [
        {"value": 80, "severity": "warning"},
        {"value": 95, "severity": "critical"},
    ],
    "panels": [{"group_by": 1}],
}
