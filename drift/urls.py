"""Addresses of the drift calls."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
