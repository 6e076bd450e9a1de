"""What asyncio lacks: tasks that end together, a buffer, time limits with precise errors."""
