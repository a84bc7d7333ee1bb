"""Sans-I/O: lanes, watermark, disposition, backoff. No clock, socket, thread or asyncio."""
