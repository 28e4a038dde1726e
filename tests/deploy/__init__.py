"""Tests of the containers that do not start one."""
