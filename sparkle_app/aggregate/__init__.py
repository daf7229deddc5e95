"""From stored readings to aggregates: table (Faust's, holding buckets), aggregator (counts samples), agent; windows
(what the web asks)."""
