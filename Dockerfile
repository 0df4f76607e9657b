# syntax=docker/dockerfile:1
# Finwatch: every process is this image with another command. The locked packages are installed with their hashes
# checked; the final stage has no compiler, no pip and no root.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/finwatch && python -m venv /tmp/tools

# The packages first: this layer stays as long as the lock does.
COPY requirements.lock requirements-dev.lock ./
RUN /opt/finwatch/bin/pip install --require-hashes -r requirements.lock
# The build backend alone, at its locked version: its entry ends with the first line that is not continued.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements-dev.lock > build.lock \
 && /tmp/tools/bin/pip install --require-hashes -r build.lock

COPY pyproject.toml README.md LICENSE ./
COPY finwatch finwatch
COPY producers producers
COPY schemas schemas
COPY streams streams
COPY sinks sinks
COPY dashboards dashboards
RUN /tmp/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/finwatch/bin/pip install --no-deps --no-index /tmp/wheel/*.whl \
 && /opt/finwatch/bin/pip uninstall --yes pip


FROM python:3.13-slim
LABEL org.opencontainers.image.title="finwatch" \
      org.opencontainers.image.description="Watches the finance operations of an Odoo ERP as a stream" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 finwatch && useradd --system --uid 10001 --gid 10001 --home-dir /tmp finwatch
COPY --from=build /opt/finwatch /opt/finwatch
# Works on a read-only file system: nothing is written but to /tmp (mount a tmpfs there).
# The port of /metrics and /health is fixed, and open to the container's network, which is what scrapes it.
ENV PATH=/opt/finwatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    FINWATCH_HTTP_HOST=0.0.0.0 \
    FINWATCH_HTTP_PORT=9100 \
    FINWATCH_LOGFORMAT=json
USER 10001:10001
WORKDIR /tmp
EXPOSE 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['FINWATCH_HTTP_PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["finwatch"]
CMD ["--help"]
