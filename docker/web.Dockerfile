# Web, scheduler and the workers of the queue "default": everything that needs no PyTorch.
# Build from the repository's root: docker build --file docker/web.Dockerfile --tag hone-web .
FROM node:24-slim AS browser
WORKDIR /hone/static
COPY static/package.json static/package-lock.json static/.npmrc ./
RUN npm ci

FROM python:3.11-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HONE_DATA=/data HONE_HOST=0.0.0.0
RUN useradd --create-home --uid 1000 hone && mkdir /data && chown hone /data
WORKDIR /hone
COPY . .
RUN python config/packages/install.py s3 && rm -rf /root/.cache/pip
RUN --mount=type=bind,from=browser,source=/hone/static/node_modules,target=/node_modules python -m config.assets.browser_libraries /node_modules && python -m config.catalogues
# By its number, which Kubernetes compares with runAsNonRoot.
USER 1000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "gunicorn", "--config", "python:config.web.gunicorn", "config.wsgi"]
