#!/usr/bin/env python
"""Django's command-line utility for mlmon."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")
    from django.core.management import execute_from_command_line

    from mlmon.closed_pipe import ignore_closed_pipes

    ignore_closed_pipes()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
