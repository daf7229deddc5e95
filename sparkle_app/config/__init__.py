"""Settings: settings (keys and rules), loading, reference (docs/settings.md)."""
