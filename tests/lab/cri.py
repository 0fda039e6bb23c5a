"""The few calls of the Container Runtime Interface (runtime.v1) that a kubelet makes for a pod's network, over gRPC on
containerd's socket: as much HTTP/2 and protocol buffers as these calls need. One connection a call."""

import socket
import struct

from lab import LabError

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4


# Protocol buffers: a message is a list of (field number, value); bytes, text, numbers and nested lists are values.
def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def encode(fields):
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = encode(value) if isinstance(value, list) else value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    """{field number: [values]}; nested messages stay bytes."""
    found, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 2:
            length = number()
            value = data[at:at + length]
            at += length
        else:
            raise LabError(f"CRI reply: wire type {key & 7}")
        found.setdefault(key >> 3, []).append(value)
    return found


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name, value):
    """A literal header field without indexing (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Cri:
    def __init__(self, path, deadline=30):
        self.path, self.deadline = path, deadline

    def call(self, method, request):
        head = b"".join(header(*pair) for pair in (
            (":method", "POST"), (":scheme", "http"), (":path", f"/runtime.v1.RuntimeService/{method}"), (":authority", "localhost"),
            ("content-type", "application/grpc"), ("te", "trailers")))
        message = encode(request)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self.deadline)
            connection.connect(self.path)
            connection.sendall(HTTP2_PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, head)
                               + frame(DATA, END_STREAM, 1, b"\0" + struct.pack(">I", len(message)) + message))
            stream = connection.makefile("rb")
            reply = self._reply(connection, stream, method)
        # An error has trailers alone, compressed by a table that is not worth having here; containerd logs its words.
        if len(reply) < 5:
            raise LabError(f"CRI {method} failed; containerd's log says why")
        return decode(reply[5:])

    @staticmethod
    def _reply(connection, stream, method):
        reply = b""
        while True:
            head = stream.read(9)
            if len(head) < 9:
                raise LabError(f"CRI {method}: containerd closed the connection")
            length = int.from_bytes(head[:3], "big")
            kind, flags, number = struct.unpack(">BBI", head[3:])
            payload = stream.read(length)
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                connection.sendall(frame(PING, ACK, 0, payload))
            elif kind in (RESET, GO_AWAY):
                raise LabError(f"CRI {method}: HTTP/2 error {payload!r}")
            elif kind == DATA:
                reply += payload
            if number == 1 and kind in (DATA, HEADERS) and flags & END_STREAM:
                return reply

    def run_pod(self, name, uid, cgroup_parent, ports=(), annotations=None):
        """RunPodSandbox; ports: (host port, container port). Returns the sandbox id."""
        config = [(1, [(1, name), (2, uid), (3, "default")]), (2, name)]
        config += [(5, [(2, container), (3, host)]) for host, container in ports]
        config += [(7, [(1, key), (2, value)]) for key, value in (annotations or {}).items()]
        config.append((8, [(1, cgroup_parent)]))
        return self.call("RunPodSandbox", [(1, config)])[1][0].decode()

    def pod_addresses(self, sandbox):
        network = decode(decode(self.call("PodSandboxStatus", [(1, sandbox)])[1][0])[5][0])
        return [network[1][0].decode()] + [decode(more)[1][0].decode() for more in network.get(2, [])]

    def stop_pod(self, sandbox):
        self.call("StopPodSandbox", [(1, sandbox)])

    def remove_pod(self, sandbox):
        self.call("RemovePodSandbox", [(1, sandbox)])

    def conditions(self):
        """{condition: true or false} of the runtime's Status."""
        status = decode(self.call("Status", [])[1][0])
        fields = [decode(condition) for condition in status[1]]
        return {f[1][0].decode(): bool(f.get(2, [0])[0]) for f in fields}
