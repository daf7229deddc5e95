"""Describes this plugin."""

NAME = "Temperature"
VERSION = "1.1.0"
AUTHOR = "Sparkle-M maintainers"
TOPIC = "telemetry"
DESCRIPTION = "Temperatures of the machine's sensors and GPUs, in °C"
