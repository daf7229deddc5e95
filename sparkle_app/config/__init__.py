"""Settings: settings (keys and rules), loading, urls, reference (docs/settings.md)."""
