"""Describes this plugin."""

NAME = "PU_Workload"
VERSION = "1.1.0"
AUTHOR = "Sparkle-M maintainers"
TOPIC = "telemetry"
DESCRIPTION = "Load of the processor, its cores and GPUs, in %"
