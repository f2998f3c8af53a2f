"""A closed loop of clients, each with its next request when the last one is answered."""
import pathlib
import threading
import time

from rounds import answer_rounds


def read_pictures(folder, count=64):
    return [file.read_bytes() for file in sorted(pathlib.Path(folder).glob("*/*.jpg"))[:count]]


def groups(pictures, batch):
    return [pictures[i:i + batch] for i in range(0, len(pictures) - batch + 1, batch)]


def run_load(requests, make_call, batch, clients, seconds):
    """`make_call()` is called once on each client's thread; what it returns is called with a request."""
    def measure():
        times, lock, end = [], threading.Lock(), time.perf_counter() + seconds

        def client(number):
            call, mine, i = make_call(), [], number
            while (begun := time.perf_counter()) < end:
                call(requests[i % len(requests)])
                mine.append(time.perf_counter() - begun)
                i += clients
            with lock:
                times.extend(mine)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed = time.perf_counter() - begun
        times.sort()
        return {"images/s": len(times) * batch / passed, "p50 ms": 1e3 * times[len(times) // 2],
                "p99 ms": 1e3 * times[int(0.99 * (len(times) - 1))]}

    call = make_call()
    for request in requests[:4]:
        call(request)
    answer_rounds(measure)
