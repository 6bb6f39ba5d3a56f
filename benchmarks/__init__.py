"""How fast the package is, measured beside bare aiohttp and the official SDKs: `python -m benchmarks`."""
