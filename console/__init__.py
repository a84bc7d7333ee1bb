"""What people look at in a browser: server-rendered pages over the monitor's and the consumer's
stores. Nothing is loaded from elsewhere, and every page works without JavaScript."""
