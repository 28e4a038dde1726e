"""Contexts of the pages: the overview, the page of a model, and panels on other pages."""
