"""Commands of the app: ``faust -A sparkle_app NAME``. Importing a module here makes its command known to Faust."""
