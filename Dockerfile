# The image that profiles/kubernetes runs jobs in. Untested.
#   docker build --tag registry.example.org/gptsmith:0.1.0 .
FROM python:3.12-slim
WORKDIR /gptsmith
COPY requirements.txt pyproject.toml LICENSE README.md ./
RUN pip install --no-cache-dir -r requirements.txt \
    snakemake-executor-plugin-kubernetes==0.5.1 snakemake-storage-plugin-s3==0.3.6
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
