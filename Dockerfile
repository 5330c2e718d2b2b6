# Both packages with exports and Ray. docs/clusters.md says how to run it.
FROM python:3.12-slim

# Triton compiles its launchers when a device renders for the first time.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv

WORKDIR /smile
COPY constraints.txt ./
COPY packages packages
# auto: the build of torch for CUDA; cpu: without it.
ARG TORCH=auto
RUN uv venv /opt/smile \
    && VIRTUAL_ENV=/opt/smile uv pip install --no-cache --compile-bytecode \
        $([ "$TORCH" = cpu ] && echo --torch-backend cpu) -c constraints.txt \
        "./packages/smile-motion[export,ray]" ./packages/smile-train

ENV PATH=/opt/smile/bin:$PATH \
    SMILE_CACHE=/data/cache \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONUNBUFFERED=1
WORKDIR /data
CMD ["smile-motion", "--help"]
