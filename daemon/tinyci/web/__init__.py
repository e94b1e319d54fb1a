"""tinyci-web: jobs as pages, as JSON, as events, and as figures for Prometheus. It reads Redis, and writes nothing."""
