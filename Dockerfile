# One image for the web server, the worker, beat and the migrations; the command selects one.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# --- the packages, in a virtual environment without pip ---------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt /build/requirements.txt
RUN python -m venv --without-pip /opt/mlmon \
    && python -m pip --python /opt/mlmon/bin/python install --requirement /build/requirements.txt

# --- the application's files, with those of the admin collected -------------------------------------------------------
FROM packages AS application
WORKDIR /srv/mlmon
COPY manage.py LICENSE ./
COPY mlmon mlmon
COPY rest rest
COPY accounts accounts
COPY models_registry models_registry
COPY inference inference
COPY performance performance
COPY rollouts rollouts
COPY drift drift
COPY monitoring monitoring
COPY mlmon_site mlmon_site
COPY demo demo
COPY docs docs
# Without the variables of production, collectstatic needs no secret, no database and no Redis.
RUN MLMON_VAR_DIR=/build/var MLMON_STATIC_ROOT=/srv/mlmon/static \
    /opt/mlmon/bin/python manage.py collectstatic --noinput --verbosity 0 \
    && /opt/mlmon/bin/python -m compileall -q mlmon rest accounts models_registry inference performance drift rollouts monitoring mlmon_site \
    && chmod -R a+rX /srv/mlmon

# --- the runtime --------------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 10001 mlmon \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/tmp --shell /usr/sbin/nologin mlmon \
    && install --directory --owner=10001 --group=10001 --mode=0750 \
        /var/lib/mlmon /var/lib/mlmon/media /run/mlmon
COPY --from=packages /opt/mlmon /opt/mlmon
COPY --from=application /srv/mlmon /srv/mlmon
WORKDIR /srv/mlmon
# TMPDIR is on disk, because uploaded reference files can be too large for a tmpfs.
ENV PATH=/opt/mlmon/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/var/tmp \
    DJANGO_SETTINGS_MODULE=mlmon_site.settings \
    MLMON_ENVIRONMENT=production \
    MLMON_VAR_DIR=/var/lib/mlmon \
    MLMON_MEDIA_ROOT=/var/lib/mlmon/media \
    MLMON_STATIC_ROOT=/srv/mlmon/static \
    MLMON_METRICS_DIR=/run/mlmon/metrics
# A numeric user, so that Kubernetes can verify that it is not root.
USER 10001:10001
EXPOSE 8000 9101
# This is the check of the web server. Other commands need a check of their own.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8000/healthz', timeout=4)"]
CMD ["python", "-m", "mlmon_site.server", "--host", "0.0.0.0", "--port", "8000"]
