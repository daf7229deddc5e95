"""Settings: settings (every key and rule), loading, reference (docs/settings.md)."""
