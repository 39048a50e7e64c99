"""Programs that tests start or read: browsers, Helm, Prometheus, proxies, images, pages of commands."""
