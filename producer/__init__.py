"""All that puts events in: the gateway, the providers' rules, the publisher."""
