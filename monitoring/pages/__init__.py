"""What the dashboard pages show, from our own tables: figures first, then their texts and shapes."""
