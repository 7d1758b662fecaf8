"""The text form of records that all client programs share; README.md describes it."""

import zlib


def read_file(path):
    """The records of a file, as (timestamp, key, value, headers)."""
    with open(path) as lines:
        for line in lines:
            timestamp, key, value, headers = line.rstrip("\n").split("\t")
            pairs = [header.split("=") for header in headers.split(",") if header]
            yield int(timestamp), unhex(key), unhex(value), [(name, unhex(text)) for name, text in pairs]


def line(timestamp, key, value, headers):
    pairs = ",".join(f"{name}={text(content)}" for name, content in headers or [])
    return f"{timestamp}\t{text(key)}\t{text(value)}\t{pairs}"


def text(content):
    if content is None:
        return "-"
    if len(content) > 1024:
        return f"#{len(content)}:{zlib.crc32(content):08x}"
    return bytes(content).hex()


def unhex(field):
    return None if field == "-" else bytes.fromhex(field)


def bulk_value(number, size):
    return b"%010d" % number + b"x" * (size - 10)


def configs(field):
    return {} if field == "-" else dict(pair.split("=") for pair in field.split(","))
