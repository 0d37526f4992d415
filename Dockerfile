# The page in a container, for any host that takes one: docker build -t icons . && docker run -p 7860:7860 icons
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 page
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt
COPY Procfile voila.json ./
COPY icon_classifier icon_classifier
COPY notebooks/icon_classifier.ipynb notebooks/
COPY export/export.onnx export/card.json export/
USER page
ENV PORT=7860
EXPOSE 7860
CMD ["sh", "-c", "eval \"exec $(sed -n 's/^web: //p' Procfile)\""]
