"""How a member learns that it is to end, and how a record is printed: the same for every Python client."""

import sys
import threading

over = threading.Event()


def wait():
    def read():
        while sys.stdin.read(1):
            pass
        over.set()

    threading.Thread(target=read, daemon=True).start()


def show(partition, offset, key, value):
    print(partition, offset, key.decode(), value.decode(), flush=True)


def owns(partitions):
    print("owns", *sorted(partitions), flush=True)
