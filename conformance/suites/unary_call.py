"""One unary gRPC call over a Unix socket, for what containerd's own client has no command.

Arguments: the socket, the method, a message, and NAME=VALUE headers. A message is JSON, field numbers
to values: strings, integers, messages, and lists of these. The answer is printed in the same form; what
is in it a string may as well be a message, as the wire does not tell.
"""
import json
import sys

import grpc


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(message):
    out = b""
    for number, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += varint(int(number) << 3) + varint(value)
                continue
            data = encode(value) if isinstance(value, dict) else value.encode()
            out += varint(int(number) << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    at, fields = 0, {}

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            value = number()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or number()
            value = data[at:at + size].decode("latin-1")
            at += size
        fields.setdefault(str(tag >> 3), []).append(value)
    return fields


socket, method, message, *headers = sys.argv[1:]
with grpc.insecure_channel(f"unix://{socket}") as channel:
    call = channel.unary_unary(method, request_serializer=encode, response_deserializer=decode)
    try:
        headers = [tuple(header.split("=", 1)) for header in headers]
        print(json.dumps(call(json.loads(message), metadata=headers, timeout=60)))
    except grpc.RpcError as error:
        sys.exit(f"{method}: {error.code().name}: {error.details()}")
