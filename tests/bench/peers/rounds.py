"""The engines' side of bench.py's protocol: "ready", then one value for each line "go"."""
import json
import sys
import time


def answer_rounds(measure):
    """`measure` returns a number or a dictionary of numbers."""
    # Whatever a library prints must not be taken for a value.
    out, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=out, flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), file=out, flush=True)


def rate(step, seconds):
    """Calls `step`, which returns how many images it did, for at least `seconds`; images/s."""
    begun = time.perf_counter()
    images = 0
    while True:
        images += step()
        passed = time.perf_counter() - begun
        if passed >= seconds:
            return images / passed
