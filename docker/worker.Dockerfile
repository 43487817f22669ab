# Workers of the queues "cpu" and "gpu": with PyTorch. The package index decides which build of it comes; for one
# without CUDA add --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's index of CPU builds>.
# Build from the repository's root: docker build --file docker/worker.Dockerfile --tag hone-worker .
FROM python:3.11-slim
ARG PIP_EXTRA_INDEX_URL=""
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HONE_DATA=/data
RUN useradd --create-home --uid 1000 hone && mkdir /data && chown hone /data
WORKDIR /hone
COPY . .
RUN python config/packages/install.py train,cpu-kernels,s3 && rm -rf /root/.cache/pip && python -m config.catalogues
# By its number, which Kubernetes compares with runAsNonRoot.
USER 1000
VOLUME /data
CMD ["python", "-m", "celery", "-A", "config", "worker", "--queues", "cpu", "--hostname", "cpu@%h", "--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
