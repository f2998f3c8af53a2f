"""client_none.py MODELS SIZE PICTURES BATCH CLIENTS SECONDS: ONNX Runtime in this process, no server between."""
import sys

from load import groups, read_pictures, run_load
from onnx_ensemble import Ensemble

models, size, folder, batch, clients, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:6]), float(sys.argv[6])
ensemble = Ensemble(models, size)
run_load(groups(read_pictures(folder), batch), lambda: ensemble.predict, batch, clients, seconds)
