"""Long tests: what kills, floods or misfeeds daemons and their broker; seeded, bounded, with a table at the end."""
