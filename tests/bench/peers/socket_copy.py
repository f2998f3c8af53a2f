"""socket_copy.py BYTES SECONDS: GB/s from one process to another over a loopback TCP socket, read into one buffer."""
import multiprocessing
import socket
import sys
import time

from rounds import answer_rounds

size, seconds = int(sys.argv[1]), float(sys.argv[2])


def send(port):
    message = bytes(size)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while True:
            connection.sendall(message)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    multiprocessing.Process(target=send, args=(listener.getsockname()[1],), daemon=True).start()
    connection, _ = listener.accept()
    buffer = memoryview(bytearray(size))

    def measure():
        begun, received = time.perf_counter(), 0
        while (passed := time.perf_counter() - begun) < seconds:
            received += connection.recv_into(buffer)
        return received / passed / 1e9

    answer_rounds(measure)
