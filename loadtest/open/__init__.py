"""The open-loop engine: arrivals by schedule whether or not earlier ones were answered, on asyncio."""
