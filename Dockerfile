# The image of a worker. It contains no secrets: docker-compose.yaml provides them, and overrides settings.yaml.
FROM python:3.11-slim-bookworm

# The owner of certs/ on the host: workers read this folder, and the first one creates internal_key in it.
ARG UID=1000
RUN useradd --uid "$UID" --no-create-home --home-dir /app --shell /usr/sbin/nologin sparkle

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

# yes: install multi-buffer RSA (docs/operations.md, "Scaling").
ARG MULTIBUFFER=no
COPY requirements.txt requirements-multibuffer.txt requirements-mysql.txt ./
RUN if [ "$MULTIBUFFER" = yes ]; then file=requirements-multibuffer.txt; else file=requirements.txt; fi \
    && pip install --no-cache-dir --disable-pip-version-check --requirement "$file" \
        --requirement requirements-mysql.txt

# Plugin packages written for the earlier handler import sparkleM_core.
COPY settings.yaml sparkleM_core.py ./
COPY sparkle_app sparkle_app
COPY plugins plugins
RUN mkdir certs data && chown sparkle certs data

USER sparkle
EXPOSE 6066
CMD ["faust", "-A", "sparkle_app", "worker"]
