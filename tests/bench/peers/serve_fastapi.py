"""serve_fastapi.py PORT MODELS SIZE: the usual Python server: FastAPI on uvicorn with uvloop, ONNX Runtime, JSON out."""
import sys

import uvicorn
from fastapi import FastAPI, UploadFile

from onnx_ensemble import Ensemble

app = FastAPI()
ensemble = Ensemble(sys.argv[2], int(sys.argv[3]))


@app.post("/predict")
def predict(files: list[UploadFile]):
    return {"probabilities": ensemble.predict([file.file.read() for file in files]).tolist()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", loop="uvloop", http="httptools")
