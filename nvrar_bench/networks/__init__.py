"""Networks by name: the settings that libraries need on one, and who has set what."""
