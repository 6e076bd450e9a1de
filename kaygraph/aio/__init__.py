"""What asyncio lacks: tasks that end together, a buffer, time limits that say what ran over."""
