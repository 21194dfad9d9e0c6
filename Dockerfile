# A service of trained models: docker build -t everymask . && docker run -p 8080:8080 -v ./runs:/models:ro everymask /models/a
# On GPUs, install torch and torchvision for CUDA in place of the two lines that fetch those for processors.
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/everymask
ENV PATH=/opt/everymask/bin:$PATH
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY everymask everymask
RUN pip install --no-cache-dir ".[train,serve]"

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin everymask
COPY --from=build /opt/everymask /opt/everymask
ENV PATH=/opt/everymask/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/everymask
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["everymask", "serve", "--host", "0.0.0.0", "--port", "8080"]
