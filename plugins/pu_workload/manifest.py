"""Describes this plugin."""

NAME = "PU_Workload"
VERSION = "1.1.0"
AUTHOR = "Sparkle-M maintainers"
TOPIC = "telemetry"
DESCRIPTION = "Load of the processor, its cores and GPUs, in %"
PANEL = {
    "title": {"en": "Load", "ru": "Загрузка"},
    "quantity": "ratio",
    "decimals": 0,
    "headline": {"metric": "CPU/total"},
    "scale": (0, 100),
    "thresholds": [
        {"value": 80, "severity": "warning"},
        {"value": 95, "severity": "critical"},
    ],
    "panels": [
        {"match": "CPU/total", "title": {"en": "Processor", "ru": "Процессор"}},
        {"match": "CPU/*", "title": {"en": "Cores", "ru": "Ядра"}},
        {"title": {"en": "GPUs", "ru": "Видеокарты"}},
    ],
}
