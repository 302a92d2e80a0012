# Where cross builds: Debian 12 with its own cross compiler, the same one that packaging/stage uses.
FROM debian:12-slim
ARG TOOLS
RUN apt-get update && apt-get install -y --no-install-recommends $TOOLS && rm -rf /var/lib/apt/lists/*
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
