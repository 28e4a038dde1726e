"""What a comparison looks like: figures turned into texts and shapes, for the admin's pages and a report of its own."""
